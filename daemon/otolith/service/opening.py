"""What settings name, opened: models and sources. Errors say which stream of which file wanted them."""

from __future__ import annotations

from contextlib import nullcontext

from otolith.errors import OtolithError, SettingsError, UsageError
from otolith.inference.model import Model
from otolith.settings import RouteSettings, Settings, StreamSettings
from otolith.sources.open import can_be_missing, check_source, open_source
from otolith.sources.source import Source, Spec
from otolith.trial import Trial


def open_models(settings: Settings, trial: Trial | None = None) -> dict[str, Model]:
    """Each model file tried and opened once, however many streams and routes lead to it; by path.

    In a `trial` that was begun before, or in one of our own.
    """
    with nullcontext(trial) if trial else Trial() as begun:
        return begun.open_all(of.model for of in (*settings.stream, *settings.route))


def at_stream(where: str, stream: StreamSettings) -> str:
    """How an error about a stream begins."""
    return f'{where}: stream "{stream.name}"'


def at_route(where: str, route: RouteSettings) -> str:
    """How an error about a route begins."""
    return f'{where}: route "{route.pattern}"'


def open_stream(stream: StreamSettings, model: Model, at: str) -> Source:
    """A stream's source, as its model wants it. Raises `OtolithError` that begins with `at`."""
    try:
        return open_source(spec_of(stream, at), model.card, waits=stream.waits)
    except UsageError as error:
        raise SettingsError(f"{at}: {error}") from None
    except OtolithError as error:
        raise type(error)(f"{at}: {error}") from None


def check_stream(stream: StreamSettings, model: Model, at: str) -> bool:
    """Check what can be known of a source that may come later; False where it has to be there. Raises `SettingsError`
    that begins with `at`.
    """
    spec = spec_of(stream, at)
    try:
        check_source(spec, model.card)
    except UsageError as error:
        raise SettingsError(f"{at}: {error}") from None
    return can_be_missing(spec)


def spec_of(stream: StreamSettings, at: str) -> Spec:
    """A stream's source, as it is written. Raises `SettingsError` that begins with `at`."""
    try:
        return Spec.parse(stream.source)
    except UsageError as error:
        raise SettingsError(f"{at}: {error}") from None
