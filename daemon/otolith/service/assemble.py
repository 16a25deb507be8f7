"""Settings become a daemon: models opened and proved, sources opened, a listener each, a publisher."""

from __future__ import annotations

import gc
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from otolith.errors import OtolithError, SettingsError, UsageError
from otolith.inference.card import Trigger
from otolith.inference.model import Model
from otolith.service.company import Company
from otolith.service.listener import Listener, check_rate
from otolith.service.loop import Loop, MakeListener
from otolith.settings import Settings, StreamSettings, triggers_for
from otolith.sinks.publisher import Publisher, check_endpoint
from otolith.sources.open import open_source
from otolith.sources.source import Source, Spec
from otolith.wire.scribe import Scribe

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Daemon:
    """A loop, and the publisher that outlives it."""

    loop: Loop
    publisher: Publisher

    def run(self) -> None:
        """Listen until the sources end or the loop is stopped; the last messages leave before it returns."""
        gc.freeze()  # what stands now stays: the collector need not walk modules and models again and again
        try:
            self.loop.run()
        finally:
            self.publisher.close()


def assemble(settings: Settings, where: str) -> Daemon:
    """Everything opened, nothing running. Errors begin with `where` and name the stream."""
    check_endpoint(settings.publish)
    boot = secrets.token_hex(8)
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
        scribe = Scribe(boot, stream.name, model, posteriors_per_s=stream.posteriors_per_s, now_ns=time.time_ns)
        opened.append((stream.name, source, partial(_seat, company, model, triggers, source.rate, scribe)))
    publisher = Publisher(settings.publish)
    loop = Loop(company, [publisher])
    for name, source, make in opened:
        loop.listen(name, source, make)
    return Daemon(loop, publisher)


def _seat(company: Company, model: Model, triggers: Mapping[str, Trigger], rate: float, scribe: Scribe) -> Listener:
    return Listener(company.join(model, triggers), rate, scribe)


def open_models(settings: Settings) -> dict[str, Model]:
    """Each model file opened once, however many streams step it; by path."""
    return {path: Model.open(path) for path in dict.fromkeys(stream.model for stream in settings.stream)}


def check_daemon(settings: Settings, where: str) -> list[str]:
    """Check everything that can be checked without listening; what was found, a line each."""
    check_endpoint(settings.publish)
    models = open_models(settings)
    lines = [f"publishes on {settings.publish}"]
    for stream in settings.stream:
        at = f'{where}: stream "{stream.name}"'
        model = models[stream.model]
        triggers_for(stream, model.card, at)
        if _spec(stream, at).scheme != "microphone":  # a device may be plugged in later
            check_rate(model.card, _open(stream, model, at).rate, stream.resample, at)
        lines.append(f'stream "{stream.name}": {stream.source} -> {model.identity}')
    return lines


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
