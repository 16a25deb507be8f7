"""The reception: who is listened to, and how; be it a stream of the settings or one that the network brings.

The settings may change while they are listened to: `prepare` does all that takes time or may fail, `change` the rest.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from otolith.inference.card import Card, Trigger
from otolith.inference.model import Model
from otolith.service.company import Company
from otolith.service.inbox import Shelf
from otolith.service.keeping.keeper import Keeper
from otolith.service.keeping.resumption import Kept, Resumption, misfit
from otolith.service.listener import FROM_ITS_START, Listener, check_rate
from otolith.service.loop import MANY, Loop
from otolith.service.opening import at_route, at_stream, open_models, open_stream
from otolith.service.relief import Relief
from otolith.service.threads import yielding
from otolith.settings import Listening, Settings, StreamSettings, route_for, triggers_for
from otolith.sources.network.returns import DIED, RESTARTED
from otolith.sources.resumed import resumed
from otolith.sources.source import Source
from otolith.trial import Trial
from otolith.wire.line import Ledger, Line, Standing
from otolith.wire.scribe import Scribe

if TYPE_CHECKING:
    from otolith.sources.network.roster import Opened

ABSENCE_TOLD_S = 60.0  # a daemon that was away for longer was not running, and what passed is no loss of its
NAMES_KEPT = 10_000  # of streams from the network that went: one that comes back goes on with its numbers

ToldOf = Callable[[Kept], tuple[str, int | None]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a stream is listened to."""

    model: Model
    triggers: Mapping[str, Trigger]
    posteriors_per_s: float

    @property
    def is_quiet(self) -> bool:
        """Are no posteriors told?"""
        return self.posteriors_per_s <= 0

    def is_like(self, other: Manner) -> bool:
        """Would a change from one to the other change anything?"""
        told = (self.model.digest, dict(self.triggers), self.posteriors_per_s)
        return told == (other.model.digest, dict(other.triggers), other.posteriors_per_s)


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings with everything opened that they name: models by path, manners by stream and by route, sources."""

    settings: Settings
    models: Mapping[str, Model]
    streams: Mapping[str, Manner]
    routes: Mapping[str, Manner]
    sources: Mapping[str, Source]


class Reception:
    """Opens the sources of `settings`, whose `models` are open already, by path.

    Raises `OtolithError` that begins with `where` and names the stream. A worker has a `line`, with word of how far
    streams had come before it, and keeps a `ledger` of how far they come.
    """

    def __init__(
        self,
        settings: Settings,
        where: str,
        boot: str,
        line: Line | None,
        ledger: Ledger | None,
        models: Mapping[str, Model],
        keeper: Keeper | None = None,
    ) -> None:
        self._where, self._boot, self._line, self._ledger, self._keeper = where, boot, line, ledger, keeper
        self.company = Company(settings.engine)
        self._shelves: dict[str, Shelf] = {}  # of the settings' own streams
        self._manners: dict[str, Manner] = {}  # of every stream that is or was listened to
        self._scribes: OrderedDict[str, Scribe] = OrderedDict()  # by stream, the last to come last
        self._plan = self._make_plan(settings, models, None)

    @property
    def settings(self) -> Settings:
        """As they now hold."""
        return self._plan.settings

    @property
    def models(self) -> Mapping[str, Model]:
        """By path."""
        return self._plan.models

    def terms(self) -> tuple[Settings, Mapping[str, Card]]:
        """What a stream from the network is admitted on: the settings, and the cards of their models by path."""
        return self.settings, {path: model.card for path, model in self.models.items()}

    def seat(self, loop: Loop) -> None:
        """Have `loop` listen to the streams of the settings."""
        for stream in self.settings.stream:
            self._listen(loop, stream, self._plan)

    def welcome(self, opened: Opened) -> Listener:
        """A listener of a stream from the network that a route takes."""
        route = route_for(self.settings, opened.stream)
        assert route is not None  # noqa: S101 - it was admitted
        manner = self._plan.routes[route.pattern]
        if self._ledger is not None:
            card, is_quiet = manner.model.card, manner.is_quiet
            self._ledger.open(opened.stream, opened.boot, opened.seq, card, opened.rate, is_quiet=is_quiet)
        listener = self._make_listener(opened.stream, manner, opened.rate, Standing(opened.boot, opened.seq))
        self._resume(listener, opened.stream, manner, opened.rate, partial(self._told_of, opened))
        return listener

    def prepare(self, settings: Settings) -> Plan:
        """All that a change to `settings` needs. From any thread; changes nothing. Raises `OtolithError`."""
        known = {model.digest: model for model in self.models.values()}
        with Trial(gentle=True) as trial, yielding():
            models = {path: known.get(model.digest, model) for path, model in open_models(settings, trial).items()}
            return self._make_plan(settings, models, self._plan)

    def change(self, plan: Plan, loop: Loop) -> list[str]:
        """Listen as `plan` says from here on; what changed, a line each. In the loop's thread.

        Streams that go on change by `change_some`, so that frames are stepped between them.
        """
        before, self._plan = self._plan, plan
        wanted = {stream.name: stream for stream in plan.settings.stream}
        changes = []
        for stream in before.settings.stream:
            if stream.name not in wanted or stream.name in plan.sources:
                loop.dismiss(self._shelves.pop(stream.name))
                changes.append(f'stream "{stream.name}": ends')
        for name in plan.sources:
            self._listen(loop, wanted[name], plan)
            changes.append(f'stream "{name}": begins, {self._manners[name].model.identity}')
        return changes

    def change_some(self, loop: Loop) -> list[str]:
        """Some more of the streams that go on are listened to as is now wanted of them, until there are none."""
        changes: list[str] = []
        for shelf, listener in loop.listeners.items():
            if len(changes) == MANY:
                break
            if shelf.name not in self._manners or shelf is not self._shelves.get(shelf.name, shelf):
                continue
            wanted, known = self._wanted(shelf.name), self._manners[shelf.name]
            if wanted is None or wanted.is_like(known):
                continue
            scribe = self._scribe(shelf.name, wanted)
            seat = self.company.join(wanted.model, wanted.triggers)
            turn = partial(self._turn, shelf.name, wanted, listener.source_rate)
            loop.relieve(listener, Relief(listener.stream, seat, scribe, turn))
            self._manners[shelf.name], self._scribes[shelf.name] = wanted, scribe
            changes.append(f'stream "{shelf.name}": {known.model.identity} -> {wanted.model.identity}')
        return changes

    def _turn(self, name: str, manner: Manner, rate: float) -> None:
        if self._ledger is not None:
            self._ledger.turn(name, manner.model.card, rate, is_quiet=manner.is_quiet)

    def _wanted(self, name: str) -> Manner | None:
        """How a stream should be listened to; None where nothing names it any more, and it goes on until it ends."""
        if name in self._plan.streams:
            return self._plan.streams[name]
        route = route_for(self.settings, name)
        return None if route is None else self._plan.routes[route.pattern]

    def _make_plan(self, settings: Settings, models: Mapping[str, Model], before: Plan | None) -> Plan:
        """Sources are opened but of streams that go on from the plan `before`."""
        streams, sources = {}, {}
        for stream in settings.stream:
            streams[stream.name] = _manner(stream, models, at_stream(self._where, stream))
        for stream in settings.stream:
            if before is None or not _goes_on(before, stream, models[stream.model].card):
                sources[stream.name] = self._open(stream, models[stream.model], is_first=before is None)
        routes = {route.pattern: _manner(route, models, at_route(self._where, route)) for route in settings.route}
        return Plan(settings, models, streams, routes, sources)

    def _open(self, stream: StreamSettings, model: Model, *, is_first: bool) -> Source:
        at, card = at_stream(self._where, stream), model.card
        source = open_stream(stream, model, at)
        check_rate(card, source.rate, stream.resample, at)
        if source.rate != card.sample_rate and card.kind == "audio":
            log.info('stream "%s": resampling %g Hz to %g Hz', stream.name, source.rate, card.sample_rate)
        if is_first:
            source = resumed(source, *self._told_until(stream.name))
        return source

    def _told_until(self, name: str) -> tuple[int, str]:
        """Until when an earlier life told of a stream of the settings (0: there was none), and how it ended."""
        if self._line is not None and (told_ns := self._line.told_ns.get(name, 0)):
            return told_ns, DIED
        kept = None if self._keeper is None else self._keeper.estate.peek(name)
        if kept is None or abs(time.time_ns() - kept.ear.told_ns) > ABSENCE_TOLD_S * 1e9:
            return 0, ""
        return kept.ear.told_ns, RESTARTED

    def _listen(self, loop: Loop, stream: StreamSettings, plan: Plan) -> None:
        source, manner = plan.sources[stream.name], plan.streams[stream.name]
        is_recording = stream.source.startswith("recording:")

        def make() -> Listener:
            listener = self._make_listener(stream.name, manner, source.rate, FROM_ITS_START)
            told = partial(self._told_since, stream.name, is_recording)
            self._resume(listener, stream.name, manner, source.rate, told)
            return listener

        if self._ledger is not None:
            self._ledger.open(stream.name, "", 0, manner.model.card, source.rate, is_quiet=manner.is_quiet)
        self._manners[stream.name] = manner
        self._shelves[stream.name] = loop.listen(stream.name, source, make)

    def _make_listener(self, name: str, manner: Manner, rate: float, origin: Standing) -> Listener:
        """A listener whose messages go on with the numbers of the stream of that name before it, if there was one."""
        scribe = self._scribe(name, manner)
        if (before := self._scribes.pop(name, None)) is not None:
            scribe.follow(before)
        self._manners[name], self._scribes[name] = manner, scribe
        while len(self._scribes) > NAMES_KEPT + len(self._shelves):
            self._forget(next(name for name in self._scribes if name not in self._shelves))
        return Listener(self.company.join(manner.model, manner.triggers), rate, scribe, origin)

    def _resume(self, listener: Listener, name: str, manner: Manner, rate: float, told: ToldOf) -> None:
        """Have a stream go on where an earlier run knew it, if its model is the same; `told` says how else it is."""
        kept = None if self._keeper is None else self._keeper.estate.ask(name)
        if kept is None or self._keeper is None:
            return
        if kept.model != manner.model.digest:
            listener.begin_fresh("its state is of another model")
        elif fault := misfit(kept.memory, listener.stream):
            listener.begin_fresh(f"its state does not fit the model ({fault})")
        else:
            fresh, further = told(kept)
            if not fresh and kept.ear.source_rate != rate:
                fresh = "the source has another rate"
            ear, within_s = kept.ear, self._keeper.within_s
            listener.resume(
                kept, Resumption(ear.told_ns, ear.source_rate, within_s, fresh, further is not None), told=further
            )

    def _told_of(self, opened: Opened, kept: Kept) -> tuple[str, int | None]:
        """Why a stream from the network cannot go on; how many samples behind `kept` a dead worker has told of."""
        if kept.ear.boot != opened.boot:
            return "its producer began anew", None
        if not opened.died:
            return "" if kept.ear.seq == opened.seq else "its producer began again", None
        return "", opened.seq - kept.ear.seq

    def _told_since(self, name: str, is_recording: bool, kept: Kept) -> tuple[str, int | None]:
        """As `_told_of`, of a stream that the daemon opens itself."""
        if is_recording:
            return "a recording is heard from its start", None
        told_ns = 0 if self._line is None else self._line.told_ns.get(name, 0)
        return "", round((told_ns - kept.ear.told_ns) / 1e9 * kept.ear.source_rate) if told_ns else None

    def _forget(self, name: str) -> None:
        del self._scribes[name], self._manners[name]
        if self._ledger is not None:
            self._ledger.close(name)

    def _scribe(self, name: str, manner: Manner) -> Scribe:
        per_s = manner.posteriors_per_s
        return Scribe(self._boot, name, manner.model, posteriors_per_s=per_s, now_ns=time.time_ns)


def _manner(listening: Listening, models: Mapping[str, Model], at: str) -> Manner:
    model = models[listening.model]
    return Manner(model, triggers_for(listening, model.card, at), listening.posteriors_per_s)


def _goes_on(before: Plan, stream: StreamSettings, card: Card) -> bool:
    """Does the stream's source stay? It gives rows of the channels, or tokens of the vocabulary, it was opened for."""
    known = next((known for known in before.settings.stream if known.name == stream.name), None)
    if known is None or (known.source, known.resample) != (stream.source, stream.resample):
        return False
    was = before.streams[stream.name].model.card
    return was.kind == card.kind and (
        card.kind == "audio" or (was.channels, was.tokens) == (card.channels, card.tokens)
    )
