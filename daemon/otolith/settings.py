"""The daemon's settings: a TOML file, read and checked whole. Paths in it count from its own folder."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from otolith.errors import SettingsError
from otolith.inference.card import Card, Trigger, trigger_faults

DEFAULT_ENDPOINT = "tcp://127.0.0.1:7311"
STREAM_NAME = r"^[\w.-]{1,64}$"

T = TypeVar("T")


class TriggerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of a label's trigger; what is left out stays as the model's card says."""

    threshold: float | None = None
    release: float | None = None
    smoothing_s: float | None = None
    refractory_s: float | None = None


class StreamSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stream: what to listen to, with which model."""

    name: Annotated[str, Meta(pattern=STREAM_NAME)]
    model: str
    source: str
    resample: bool = True
    posteriors_per_s: Annotated[float, Meta(ge=0, le=1000)] = 10.0
    detector: dict[str, TriggerSettings] = {}


class EngineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the streams of one model are stepped together.

    A frame waits up to `max_delay_ms` for other streams' frames (0: it never waits; a stream alone never does);
    `frames_per_step` is how many frames of one stream go in one call, `largest_batch` how many streams.
    """

    max_delay_ms: Annotated[float, Meta(ge=0, le=1000)] = 20.0
    frames_per_step: Annotated[int, Meta(ge=1, le=64)] = 4
    largest_batch: Annotated[int, Meta(ge=1, le=1024)] = 64


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All a daemon needs to know."""

    stream: Annotated[list[StreamSettings], Meta(min_length=1, max_length=10_000)]
    publish: str = DEFAULT_ENDPOINT
    engine: EngineSettings = EngineSettings()


def read_settings(path: Path, publish: str | None = None) -> Settings:
    """The settings at `path`, with model files found from its folder, published on `publish` if given.

    Raises `SettingsError`.
    """
    settings = read_toml(path, Settings)
    check_settings(settings, str(path))
    folder = path.parent
    streams = [msgspec.structs.replace(stream, model=str(folder / stream.model)) for stream in settings.stream]
    for stream in streams:
        if not Path(stream.model).exists():
            raise SettingsError(
                f'{path}: stream "{stream.name}": model {stream.model} does not exist; '
                f"paths count from {folder.resolve()}"
            )
    return msgspec.structs.replace(settings, stream=streams, publish=publish or settings.publish)


def settings_for(model: str, source: str, publish: str | None, name: str | None) -> Settings:
    """Settings for one model and one source; the stream takes the model file's name. Raises `SettingsError`."""
    stream_name = name or re.sub(r"[^\w.-]", "-", Path(model).stem)[:64]
    if not re.fullmatch(STREAM_NAME, stream_name):
        raise SettingsError(f"stream name {stream_name!r}: use letters, digits, . _ and -, 64 at most")
    stream = StreamSettings(name=stream_name, model=model, source=source)
    return Settings(stream=[stream], publish=publish or DEFAULT_ENDPOINT)


def check_settings(settings: Settings, where: str) -> None:
    """What no type can say. Raises `SettingsError`."""
    names = [stream.name for stream in settings.stream]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f'{where}: two streams are named "{twice[0]}"; give each its own name')
    if sum(stream.source.startswith("pipe:") for stream in settings.stream) > 1:
        raise SettingsError(f"{where}: two streams read pipe:; there is one standard input")


def read_toml(path: Path, kind: type[T]) -> T:
    """A TOML file as `kind`, whole or not at all. Raises `SettingsError` saying where and what."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); name a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not TOML: {error}") from None
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {_in_toml_words(str(error))}") from None


def _in_toml_words(complaint: str) -> str:
    """`Object contains unknown field `x` - at `$.stream[0]`` -> `stream[1]: unknown key "x"`."""
    what, _, where = complaint.partition(" - at `$")
    where = where.rstrip("`").lstrip(".").replace("[...]", "")
    where = re.sub(r"\[(\d+)\]", lambda match: f"[{int(match[1]) + 1}]", where)
    what = re.sub(r"^Object contains unknown field `(.*)`$", r'unknown key "\1"; mend or remove it', what)
    what = re.sub(r"^Object missing required field `(.*)`$", r'key "\1" is missing; add it', what)
    what = what.replace("`object`", "a table").replace("`array`", "a list").replace("`str`", "text")
    return f"{where}: {what}" if where else what


def triggers_for(stream: StreamSettings, card: Card, where: str) -> dict[str, Trigger]:
    """The card's triggers with the stream's changes. Raises `SettingsError`."""
    triggers = {}
    for label, change in stream.detector.items():
        if label not in card.labels:
            known = ", ".join(card.labels)
            raise SettingsError(f"{where}: detector.{label}: the model has no such label; it has {known}")
        fields = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
        base = card.detector.get(label)
        if base is None and len(fields) < len(Trigger.__struct_fields__):
            raise SettingsError(
                f"{where}: detector.{label}: the model does not detect this label; say all of "
                f"{', '.join(Trigger.__struct_fields__)}"
            )
        trigger = msgspec.structs.replace(base, **fields) if base else Trigger(**fields)
        for fault in trigger_faults(trigger):
            raise SettingsError(f"{where}: detector.{label}: {fault}")
        triggers[label] = trigger
    return triggers
