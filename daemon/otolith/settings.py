"""The daemon's settings: a TOML file, read and checked whole. Paths in it count from its own folder."""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from otolith.errors import SettingsError
from otolith.inference.card import Card, Trigger
from otolith.inference.card_text import trigger_faults

DEFAULT_ENDPOINT = "tcp://127.0.0.1:7311"
DEFAULT_METRICS = "127.0.0.1:9753"
DEFAULT_INGEST = "zmq+tcp://127.0.0.1:7312"
INGEST_SCHEMES = ("zmq+tcp://", "zmq+ipc://", "udp://")
MIN_STREAM_BYTES = 4096  # of one stream: less would not hold a block
STREAM_NAME = r"^[\w-][\w.-]{0,63}\Z"  # it may become the name of a file: none is hidden, none is ..
MAX_TOML_BYTES = 4 << 20  # ten thousand streams take two of them
LONG_KEY = re.compile(r"(?<![^\s.=,\[\]{}#])(?:[^\s.=,\[\]{}#]++[ \t]*+\.[ \t]*+){32}")  # 10,000 parts take tomllib 4 s

T = TypeVar("T")
L = TypeVar("L", bound="Listening")
K = TypeVar("K", "StateSettings", "RecorderSettings")


class TriggerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of a label's trigger; what is left out stays as the model's card says."""

    threshold: float | None = None
    release: float | None = None
    smoothing_s: float | None = None
    refractory_s: float | None = None


class Listening(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a stream is listened to: with which model, and what of it is told."""

    model: str
    resample: bool = True
    posteriors_per_s: Annotated[float, Meta(ge=0, le=1000)] = 10.0
    detector: dict[str, TriggerSettings] = {}


class StreamSettings(Listening, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One stream that the daemon opens itself: its name, and what to listen to.

    A device that is missing at the start is waited for, unless `waits` is false: then it is an error.
    """

    name: Annotated[str, Meta(pattern=STREAM_NAME)]
    source: str
    waits: bool = True


class RouteSettings(Listening, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How streams from the network are listened to whose name matches `pattern` (`kitchen-*`, as of a shell)."""

    pattern: Annotated[str, Meta(min_length=1, max_length=256)]


class IngestSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where streams from the network come in, and how much of them there may be.

    `allow` names the networks whose datagrams are taken, for an address beyond loopback. Where more than
    `max_bytes_per_stream` of a stream waits, its oldest samples are lost; where more than `max_bytes` of all does,
    those of the fullest. A stream ends when nothing came of it for `silence_s`.
    """

    bind: Annotated[list[str], Meta(min_length=1, max_length=16)] = msgspec.field(
        default_factory=lambda: [DEFAULT_INGEST]
    )
    allow: list[str] = []
    max_streams: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    max_streams_per_s: Annotated[float, Meta(gt=0, le=100_000)] = 100.0
    max_bytes_per_stream: Annotated[int, Meta(ge=MIN_STREAM_BYTES, le=1 << 30)] = 1 << 18
    max_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 36)] = 1 << 26
    silence_s: Annotated[float, Meta(ge=0.1, le=86_400)] = 5.0


class EngineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the streams of one model are stepped together.

    A frame waits up to `max_delay_ms` for other streams' frames (0: it never waits; a stream alone never does);
    `frames_per_step` is how many frames of one stream go in one call, `largest_batch` how many streams.
    """

    max_delay_ms: Annotated[float, Meta(ge=0, le=1000)] = 20.0
    frames_per_step: Annotated[int, Meta(ge=1, le=64)] = 4
    largest_batch: Annotated[int, Meta(ge=1, le=1024)] = 64


class StateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What streams know of what they heard, kept for the next run.

    `folder` is where: a path, systemd's state folder where there is one (true), or nowhere (false). It is written every
    `period_s`. A stream goes on from it whose input went on within `resume_within_s`, and otherwise starts afresh: a
    restart takes some two seconds, and five leave a device time to come back.
    """

    folder: bool | str = True
    period_s: Annotated[float, Meta(ge=0.05, le=3600)] = 1.0
    resume_within_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0


class MetricsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Prometheus may ask: an address of this machine alone, as what it speaks is neither secret nor guarded."""

    bind: str = DEFAULT_METRICS


class RecorderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is recorded of what streams hear and tell: nothing without a `folder`.

    Of streams whose name matches one of the patterns `streams`, the last `minutes`, no longer than `days`, and
    `megabytes` of all together: the oldest goes. Files begin anew every `segment_s`.
    """

    folder: str = ""
    streams: Annotated[list[str], Meta(min_length=1)] = msgspec.field(default_factory=lambda: ["*"])
    minutes: Annotated[float, Meta(gt=0, le=1_000_000)] = 10.0
    megabytes: Annotated[float, Meta(gt=0, le=100_000_000)] = 1000.0
    days: Annotated[float, Meta(gt=0, le=36_500)] = 7.0
    segment_s: Annotated[float, Meta(ge=0.1, le=3600)] = 60.0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All a daemon needs to know.

    With more than one of `workers`, each is a process of its own that listens to its share of the streams. `control` is
    where `otolith status` finds it: in the usual place (true), at a path of its own, or nowhere (false). `keys` is a
    folder of keys, without which nothing but this machine can reach it.
    """

    stream: Annotated[list[StreamSettings], Meta(max_length=10_000)] = []
    publish: str = DEFAULT_ENDPOINT
    ingest: IngestSettings | None = None
    route: Annotated[list[RouteSettings], Meta(max_length=1000)] = []
    engine: EngineSettings = EngineSettings()
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    control: bool | str = True
    keys: str = ""
    state: StateSettings = StateSettings()
    metrics: MetricsSettings | None = None
    recorder: RecorderSettings = RecorderSettings()


def read_settings(path: Path, publish: str | None = None) -> Settings:
    """The settings at `path`, with model files found from its folder, published on `publish` if given.

    Raises `SettingsError`.
    """
    settings = read_toml(path, Settings)
    check_settings(settings, str(path))
    streams = [_found(stream, path, f'stream "{stream.name}"') for stream in settings.stream]
    routes = [_found(route, path, f'route "{route.pattern}"') for route in settings.route]
    keys = str(path.parent / settings.keys) if settings.keys else ""
    publish = publish or settings.publish
    state, recorder = _placed(settings.state, path), _placed(settings.recorder, path)
    settings = msgspec.structs.replace(settings, stream=streams, route=routes, publish=publish, keys=keys)
    return msgspec.structs.replace(settings, state=state, recorder=recorder)


def route_for(settings: Settings, stream: str) -> RouteSettings | None:
    """The first route whose pattern matches a stream's name."""
    return next((route for route in settings.route if fnmatchcase(stream, route.pattern)), None)


def settings_for(model: str, source: str, publish: str | None, name: str | None) -> Settings:
    """Settings for one model and one source; the stream takes the model file's name. Raises `SettingsError`.

    Where the source is an endpoint of the network, the model takes every stream from there, or the one of that name.
    """
    if source.startswith(INGEST_SCHEMES):
        route = RouteSettings(pattern=name or "*", model=model)
        return Settings(ingest=IngestSettings(bind=[source]), route=[route], publish=publish or DEFAULT_ENDPOINT)
    stream_name = name or re.sub(r"[^\w.-]", "-", Path(model).stem)[:64]
    if not re.fullmatch(STREAM_NAME, stream_name):
        raise SettingsError(f"stream name {stream_name!r}: use letters, digits, . _ and -, no dot first, 64 at most")
    stream = StreamSettings(name=stream_name, model=model, source=source, waits=False)
    return Settings(stream=[stream], publish=publish or DEFAULT_ENDPOINT)


def check_settings(settings: Settings, where: str) -> None:
    """What no type can say. Raises `SettingsError`."""
    if not settings.stream and settings.ingest is None:
        raise SettingsError(f"{where}: nothing to listen to; add a [[stream]], or [ingest] with a [[route]]")
    if settings.metrics is not None:
        address_of(settings.metrics.bind, f"{where}: ")
    names = Counter(stream.name for stream in settings.stream)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise SettingsError(f'{where}: two streams are named "{twice[0]}"; give each its own name')
    _check_sources(settings, where)
    if settings.workers > 1 and (piped := [s.name for s in settings.stream if s.source.startswith("pipe:")]):
        raise SettingsError(
            f'{where}: stream "{piped[0]}": workers = {settings.workers}, and what a worker has read of pipe: would '
            "die with it; set workers = 1, or send it to [ingest] with otolith send pipe:"
        )
    for stream in settings.stream:
        if stream.source.startswith(INGEST_SCHEMES):
            raise SettingsError(
                f'{where}: stream "{stream.name}": {stream.source} brings streams of its own; '
                "name it in [ingest] and add a [[route]]"
            )
    _check_routes(settings, where)


def address_of(bind: str, where: str = "") -> tuple[str, int]:
    """Host and port of where metrics are served. Raises `SettingsError` where others than this machine could ask."""
    host, _, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"{where}metrics {bind}: write an address and a port, for example {DEFAULT_METRICS}")
    if not re.fullmatch(r"127(\.\d{1,3}){3}|::1|localhost", host):
        raise SettingsError(
            f"{where}metrics {bind}: only loopback is served, since Prometheus speaks plain HTTP and knows no keys; "
            f"bind {DEFAULT_METRICS}, and let a proxy with TLS and a password, or ssh -L, carry it elsewhere"
        )
    return host, int(port)


def _check_sources(settings: Settings, where: str) -> None:
    """No two streams read what only one can read. Raises `SettingsError`."""
    read = [stream.source.partition("?")[0] for stream in settings.stream]
    alone = [source for source in read if source.startswith(("pipe:", "serial:"))]
    if twice := next((source for source in alone if alone.count(source) > 1), None):
        what = "there is one standard input" if twice == "pipe:" else "each would get a part of it"
        raise SettingsError(f"{where}: two streams read {twice}; {what}")


def _check_routes(settings: Settings, where: str) -> None:
    """Every stream from the network has a way, and every way can be reached. Raises `SettingsError`."""
    patterns = [route.pattern for route in settings.route]
    ingest = settings.ingest
    if ingest is not None and ingest.max_bytes < ingest.max_streams * MIN_STREAM_BYTES:
        raise SettingsError(
            f"{where}: ingest: max_bytes is {ingest.max_bytes}, which leaves {ingest.max_streams} streams less than "
            f"{MIN_STREAM_BYTES} bytes each; raise it or lower max_streams"
        )
    if ingest is not None and not patterns:
        raise SettingsError(f'{where}: [ingest] without a [[route]]; add one, pattern = "*" takes every stream')
    if patterns and ingest is None:
        raise SettingsError(f"{where}: a [[route]] without [ingest]; add [ingest], where its streams come in")
    for number, pattern in enumerate(patterns):
        if earlier := next((other for other in patterns[:number] if other in ("*", pattern)), None):
            raise SettingsError(
                f'{where}: route[{number + 1}] "{pattern}" is never reached, "{earlier}" stands before it; '
                "put the narrower pattern first"
            )


def _placed(keeping: K, path: Path) -> K:
    """The same, its folder counted from the settings' own."""
    if not isinstance(keeping.folder, str) or not keeping.folder:
        return keeping
    return msgspec.structs.replace(keeping, folder=str(path.parent / keeping.folder))


def _found(listening: L, path: Path, what: str) -> L:
    """The same, its model's path counted from the settings' folder. Raises `SettingsError` where there is none."""
    model = path.parent / listening.model
    if not os.path.exists(model):  # noqa: PTH110 - to a name that is too long, a Path raises
        raise SettingsError(
            f"{path}: {what}: model {str(model)[:400]} does not exist; paths count from {path.parent.resolve()}"
        )
    return msgspec.structs.replace(listening, model=str(model))


def read_toml(path: Path, kind: type[T]) -> T:
    """A TOML file as `kind`, whole or not at all. Raises `SettingsError` saying where and what."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TOML_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); name a TOML file") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not TOML: {error}") from None
    content = parse_toml(text, str(path))
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {_in_toml_words(str(error))}") from None


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """A TOML file's content. Raises `SettingsError` where it is none, or more than anyone would write."""
    if len(text) > MAX_TOML_BYTES:
        raise SettingsError(f"{where}: has over {MAX_TOML_BYTES} bytes; settings are short")
    if key := LONG_KEY.search(text):
        raise SettingsError(f"{where}: the key {key[0][:40]!r}... has dozens of parts; settings are flat")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise SettingsError(f"{where}: is nested too deeply; settings are flat") from None
    except ValueError as error:  # or a number with thousands of digits
        raise SettingsError(f"{where}: is not TOML: {error}") from None


def _in_toml_words(complaint: str) -> str:
    """`Object contains unknown field `x` - at `$.stream[0]`` -> `stream[1]: unknown key "x"`."""
    what, _, where = complaint.partition(" - at `$")
    where = where.rstrip("`").lstrip(".").replace("[...]", "")
    where = re.sub(r"\[(\d+)\]", lambda match: f"[{int(match[1]) + 1}]", where)
    what = re.sub(r"^Object contains unknown field `(.*)`$", r'unknown key "\1"; mend or remove it', what)
    what = re.sub(r"^Object missing required field `(.*)`$", r'key "\1" is missing; add it', what)
    what = what.replace("`object`", "a table").replace("`array`", "a list").replace("`str`", "text")
    return f"{where}: {what}" if where else what


def triggers_for(stream: Listening, card: Card, where: str) -> dict[str, Trigger]:
    """The card's triggers with the stream's changes. Raises `SettingsError`."""
    triggers = {}
    for label, change in stream.detector.items():
        if label not in card.judged:
            known = ", ".join(card.judged) or "none"
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
