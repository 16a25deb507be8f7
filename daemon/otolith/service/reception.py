"""The reception: who is listened to. A listener for each stream of the settings, and each that the network brings."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from otolith.inference.card import Trigger
from otolith.inference.model import Model
from otolith.service.company import Company
from otolith.service.listener import Listener, check_rate
from otolith.service.loop import Loop
from otolith.service.opening import at_route, at_stream, open_models, open_stream
from otolith.settings import Listening, Settings, StreamSettings, route_for, triggers_for
from otolith.sources.resumed import resumed
from otolith.sources.source import Source
from otolith.wire.line import Ledger, Line
from otolith.wire.scribe import Scribe

if TYPE_CHECKING:
    from otolith.sources.roster import Opened

NAMES_KEPT = 10_000  # of streams from the network that went: one that comes back goes on with its numbers

log = logging.getLogger(__name__)


class Reception:
    """Opens the models and sources of `settings`. Raises `OtolithError` that begins with `where` and names the stream.

    A worker has a `line`, with word of how far streams had come before it, and keeps a `ledger` of how far they come.
    """

    def __init__(self, settings: Settings, where: str, boot: str, line: Line | None, ledger: Ledger | None) -> None:
        self._settings, self._boot, self._line, self._ledger = settings, boot, line, ledger
        self.models = open_models(settings)
        self.company = Company(settings.engine)
        self._opened = [self._open(stream, at_stream(where, stream)) for stream in settings.stream]
        self._triggers = {
            route.pattern: triggers_for(route, self.models[route.model].card, at_route(where, route))
            for route in settings.route
        }
        self._scribes: OrderedDict[str, Scribe] = OrderedDict()  # of streams from the network, the last to come last

    def seat(self, loop: Loop) -> None:
        """Have `loop` listen to the streams of the settings."""
        for stream, source, triggers in self._opened:
            scribe = self._scribe(stream.name, self.models[stream.model], stream)
            make = partial(self._listener, self.models[stream.model], triggers, source.rate, scribe)
            loop.listen(stream.name, source, make)

    def welcome(self, opened: Opened) -> Listener:
        """A listener of a stream from the network that a route takes."""
        route = route_for(self._settings, opened.stream)
        assert route is not None  # noqa: S101 - it was admitted
        model = self.models[route.model]
        scribe = self._scribes.pop(opened.stream, None) or self._scribe(opened.stream, model, route)
        self._scribes[opened.stream] = scribe
        if len(self._scribes) > NAMES_KEPT:
            gone, _ = self._scribes.popitem(last=False)
            if self._ledger is not None:
                self._ledger.close(gone)
        if self._ledger is not None:
            is_quiet = route.posteriors_per_s <= 0
            self._ledger.open(opened.stream, opened.boot, opened.seq, model.card, opened.rate, is_quiet=is_quiet)
        return self._listener(model, self._triggers[route.pattern], opened.rate, scribe)

    def _open(self, stream: StreamSettings, at: str) -> tuple[StreamSettings, Source, Mapping[str, Trigger]]:
        card = self.models[stream.model].card
        triggers = triggers_for(stream, card, at)
        source = open_stream(stream, self.models[stream.model], at)
        check_rate(card, source.rate, stream.resample, at)
        if source.rate != card.sample_rate and card.kind == "audio":
            log.info('stream "%s": resampling %g Hz to %g Hz', stream.name, source.rate, card.sample_rate)
        if self._line is not None and self._ledger is not None:
            self._ledger.open(stream.name, "", 0, card, source.rate, is_quiet=stream.posteriors_per_s <= 0)
            source = resumed(source, self._line.told_ns.get(stream.name, 0))
        return stream, source, triggers

    def _scribe(self, name: str, model: Model, settings: Listening) -> Scribe:
        return Scribe(self._boot, name, model, posteriors_per_s=settings.posteriors_per_s, now_ns=time.time_ns)

    def _listener(self, model: Model, triggers: Mapping[str, Trigger], rate: float, scribe: Scribe) -> Listener:
        return Listener(self.company.join(model, triggers), rate, scribe)
