"""Settings become a daemon: models opened and proved, sources opened, a listener each, a publisher."""

from __future__ import annotations

import gc
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from otolith.errors import OtolithError, SettingsError, UsageError
from otolith.inference.card import Trigger
from otolith.inference.model import Model
from otolith.service.company import Company
from otolith.service.listener import Listener, check_rate
from otolith.service.loop import Loop, MakeListener
from otolith.settings import Listening, RouteSettings, Settings, StreamSettings, route_for, triggers_for
from otolith.sinks.publisher import Publisher, check_endpoint
from otolith.sinks.relay import Relay
from otolith.sources.open import open_source
from otolith.sources.resumed import resumed
from otolith.sources.source import Source, Spec
from otolith.wire.line import Ledger, Line
from otolith.wire.scribe import Scribe

if TYPE_CHECKING:
    from otolith.sources.network import Ingest
    from otolith.sources.roster import Opened

log = logging.getLogger(__name__)


NAMES_KEPT = 10_000  # of streams from the network that went: one that comes back goes on with its numbers


GARBAGE = 50_000  # objects more than were freed, before the collector looks


@dataclass(slots=True)
class Daemon:
    """A loop, the publisher that outlives it (a worker's relay), and where streams from the network come in."""

    loop: Loop
    publisher: Publisher | Relay
    ingest: Ingest | None = None

    @property
    def endpoint(self) -> str:
        """Where messages go."""
        return self.publisher.endpoint

    def stop(self) -> None:
        """End soon. Safe in a signal handler."""
        self.loop.stop()

    def run(self) -> None:
        """Listen until the sources end or the loop is stopped; the last messages leave before it returns."""
        gc.freeze()  # what stands now stays: the collector need not walk modules and models again and again
        gc.set_threshold(GARBAGE)  # what a step leaves goes by its count of references; the collector finds nothing
        try:
            self.loop.run()
        finally:
            self.publisher.close()


def assemble(settings: Settings, where: str, line: Line | None = None) -> Daemon:
    """Everything opened, nothing running. Errors begin with `where` and name the stream.

    With a `line` it is a worker: its settings are its share, and the public endpoints are held at the line's other end.
    """
    check_endpoint(settings.publish)
    boot = secrets.token_hex(8)
    ledger = None if line is None else Ledger()
    models = open_models(settings)
    company = Company(settings.engine)
    opened: list[tuple[str, Source, MakeListener]] = []
    for stream in settings.stream:
        at = f'{where}: stream "{stream.name}"'
        model = models[stream.model]
        triggers = triggers_for(stream, model.card, at)
        source = _open(stream, model, at)
        check_rate(model.card, source.rate, stream.resample, at)
        if source.rate != model.card.sample_rate and model.card.kind == "audio":
            log.info('stream "%s": resampling %g Hz to %g Hz', stream.name, source.rate, model.card.sample_rate)
        scribe = _scribe(boot, stream.name, model, stream)
        if line is not None and ledger is not None:
            ledger.open(stream.name, "", 0, model.card, source.rate, is_quiet=stream.posteriors_per_s <= 0)
            source = resumed(source, line.told_ns.get(stream.name, 0))
        opened.append((stream.name, source, partial(_seat, company, model, triggers, source.rate, scribe)))
    welcome = _welcome(settings, models, company, boot, where, ledger)
    publisher = Publisher(settings.publish) if line is None or ledger is None else Relay(line, ledger)
    loop = Loop(company, [publisher])
    for name, source, make in opened:
        loop.listen(name, source, make)
    if settings.ingest is None:
        return Daemon(loop, publisher)
    from otolith.service.admission import admission  # here: whom nobody sends to need not wait for it
    from otolith.service.arrivals import Arrivals
    from otolith.sources.network import Ingest

    try:
        admit = admission(settings, {path: model.card for path, model in models.items()})
        ingest = Ingest(settings.ingest, admit, line)
    except OtolithError:
        publisher.close()
        raise
    loop.attend("ingest", Arrivals(ingest, loop, welcome).run)
    return Daemon(loop, publisher, ingest)


def _welcome(
    settings: Settings, models: Mapping[str, Model], company: Company, boot: str, where: str, ledger: Ledger | None
) -> Callable[[Opened], Listener]:
    """What makes a listener of a stream from the network that a route takes. Raises `SettingsError`."""
    triggers = {
        route.pattern: triggers_for(route, models[route.model].card, _at(where, route)) for route in settings.route
    }
    scribes: OrderedDict[str, Scribe] = OrderedDict()

    def welcome(opened: Opened) -> Listener:
        route = route_for(settings, opened.stream)
        assert route is not None  # noqa: S101 - it was admitted
        model = models[route.model]
        scribe = scribes.pop(opened.stream, None) or _scribe(boot, opened.stream, model, route)
        scribes[opened.stream] = scribe
        if len(scribes) > NAMES_KEPT:
            gone, _ = scribes.popitem(last=False)
            if ledger is not None:
                ledger.close(gone)
        if ledger is not None:
            is_quiet = route.posteriors_per_s <= 0
            ledger.open(opened.stream, opened.boot, opened.seq, model.card, opened.rate, is_quiet=is_quiet)
        return _seat(company, model, triggers[route.pattern], opened.rate, scribe)

    return welcome


def _scribe(boot: str, name: str, model: Model, settings: Listening) -> Scribe:
    return Scribe(boot, name, model, posteriors_per_s=settings.posteriors_per_s, now_ns=time.time_ns)


def _seat(company: Company, model: Model, triggers: Mapping[str, Trigger], rate: float, scribe: Scribe) -> Listener:
    return Listener(company.join(model, triggers), rate, scribe)


def open_models(settings: Settings) -> dict[str, Model]:
    """Each model file opened once, however many streams and routes lead to it; by path."""
    return {path: Model.open(path) for path in dict.fromkeys(of.model for of in (*settings.stream, *settings.route))}


def check_daemon(settings: Settings, where: str) -> list[str]:
    """Check everything that can be checked without listening; what was found, a line each."""
    check_endpoint(settings.publish)
    models = open_models(settings)
    lines = [f"publishes on {settings.publish}"]
    if settings.workers > 1:
        lines.append(f"spreads its streams over {settings.workers} workers")
    for stream in settings.stream:
        at = f'{where}: stream "{stream.name}"'
        model = models[stream.model]
        triggers_for(stream, model.card, at)
        if _spec(stream, at).scheme != "microphone":  # a device may be plugged in later
            check_rate(model.card, _open(stream, model, at).rate, stream.resample, at)
        lines.append(f'stream "{stream.name}": {stream.source} -> {model.identity}')
    if settings.ingest is not None:
        from otolith.sources.doors import check_door

        for endpoint in settings.ingest.bind:
            check_door(endpoint, settings.ingest.allow)
            lines.append(f"takes streams on {endpoint}")
    for route in settings.route:
        triggers_for(route, models[route.model].card, _at(where, route))
        lines.append(f'route "{route.pattern}": {models[route.model].identity}')
    return lines


def _at(where: str, route: RouteSettings) -> str:
    return f'{where}: route "{route.pattern}"'


def _open(stream: StreamSettings, model: Model, at: str) -> Source:
    try:
        return open_source(_spec(stream, at), model.card)
    except UsageError as error:
        raise SettingsError(f"{at}: {error}") from None
    except OtolithError as error:
        raise type(error)(f"{at}: {error}") from None


def _spec(stream: StreamSettings, at: str) -> Spec:
    try:
        return Spec.parse(stream.source)
    except UsageError as error:
        raise SettingsError(f"{at}: {error}") from None
