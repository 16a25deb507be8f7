"""The wire: what is published, field by field, and how it is encoded. `docs/wire-protocol.md` is its description.

Multipart `[topic, payload]`: the topic is `otolith/1/<stream>/<kind>`, the payload one msgpack map. Fields are added,
never renamed; whoever reads skips what he does not know.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from otolith.errors import WireError

VERSION = 1
TOPIC_ROOT = "otolith/1/"

Kind = Literal["posteriors", "forecast", "detection", "anomaly", "gap", "status"]
KINDS: tuple[Kind, ...] = ("posteriors", "forecast", "detection", "anomaly", "gap", "status")
MESSAGE_BYTES = 1 << 26  # more than any message takes; a reader hangs up on what is larger
LISTENING = "listening"  # a stream's state while samples come
FRESH = "fresh"  # how a stream began that knows of nothing before


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What every message carries.

    `boot` names the daemon's run; `seq` rises by one per stream and kind from 0; `time_ns` is the UTC capture time of
    the last sample behind the message; `position` counts samples (or rows) since the stream's fresh start.
    """

    v: int = VERSION
    boot: str
    seq: int
    stream: str
    model: str
    time_ns: int
    position: int


class PosteriorsMessage(Message, frozen=True, kw_only=True, tag="posteriors"):
    """Probabilities of `frames` frames in a row: `values` is float32, little-endian, frames x labels, row by row."""

    labels: list[str]
    frames: int
    values: bytes

    def array(self) -> NDArray[np.float32]:
        """The values as `(frames, labels)`."""
        return np.frombuffer(self.values, "<f4").reshape(self.frames, len(self.labels))


class ForecastMessage(Message, frozen=True, kw_only=True, tag="forecast"):
    """What is forecast behind each of `frames` rows: `values` is float32, little-endian, frames x horizon x channels.

    `scores` (float32, one a row) say how unlikely each row was under what had been forecast for it, 0..1; absent of a
    model that does not watch for anomalies.
    """

    channels: list[str]
    horizon: int
    frames: int
    values: bytes
    scores: bytes | msgspec.UnsetType = msgspec.UNSET

    def array(self) -> NDArray[np.float32]:
        """The values as `(frames, horizon, channels)`, in the channels' own units."""
        return np.frombuffer(self.values, "<f4").reshape(self.frames, self.horizon, len(self.channels))


class DetectionMessage(Message, frozen=True, kw_only=True, tag="detection"):
    """A label starts or ends; both carry the same `id`.

    `onset_ns` is when the label rose; `latency_ms` is how long after that the message left.
    """

    id: int
    label: str
    phase: Literal["start", "end"]
    confidence: float
    onset_ns: int
    latency_ms: float


class AnomalyMessage(Message, frozen=True, kw_only=True, tag="anomaly"):
    """Rows begin or cease to differ from what was forecast for them; both carry the same `id`.

    `score` is 0..1: what it was at the start, its highest value at the end. `onset_ns` is when it rose over the
    release threshold; `latency_ms` is how long after that the message left.
    """

    id: int
    phase: Literal["start", "end"]
    score: float
    onset_ns: int
    latency_ms: float


class GapMessage(Message, frozen=True, kw_only=True, tag="gap"):
    """`lost` samples (or rows, of the model's rate) were not processed; the stream starts afresh behind them."""

    lost: int
    reason: str


class StatusMessage(Message, frozen=True, kw_only=True, tag="status"):
    """A heartbeat, every second, and once more at the end.

    `frames`, `gaps`, `lost` (samples in gaps) and `drops` (blocks thrown away because the daemon was late) count since
    the daemon started; `real_time_factor` is processing time over sound time in the last second, of all streams
    together. `state` is `listening`, or why nothing is heard. `level_dbfs` is the loudest sample of the last second and
    `offset` their mean in parts of full scale (None where nothing came, or for rows); `clipped_s` counts seconds in
    which full scale was touched, `flat_s` those since one last held more than one value: a microphone muted, or broken.
    `began` is `fresh` or `resumed` (from the state of an earlier run), and why; `kept` counts samples that wait for the
    next run, in the last words of a stopped daemon. `degraded` says what the daemon cannot do beside predicting.
    `rate` is how many of the source's samples (or rows) came a second over the last ten (None before that is known).

    Stream `@ingest` is the daemon itself, where streams come from the network: `streams` are there now, `refused`
    counts by reason what was not taken since it started; the others have neither field.
    """

    frames: int
    gaps: int
    lost: int
    drops: int
    real_time_factor: float
    uptime_s: float
    level_dbfs: float | None
    state: str = LISTENING
    offset: float | None = None
    clipped_s: int = 0
    flat_s: int = 0
    began: str = FRESH
    kept: int = 0
    degraded: str = ""
    rate: float | None = None
    streams: int | msgspec.UnsetType = msgspec.UNSET
    refused: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


AnyMessage = PosteriorsMessage | ForecastMessage | DetectionMessage | AnomalyMessage | GapMessage | StatusMessage

_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)
_encoder = msgspec.msgpack.Encoder()


def kind_of(message: Message) -> Kind:
    """One of `KINDS`."""
    kind: Kind = message.__struct_config__.tag  # type: ignore[assignment]
    return kind


def topic_of(message: Message) -> bytes:
    """The topic a message is published under."""
    return f"{TOPIC_ROOT}{message.stream}/{kind_of(message)}".encode()


def encode(message: Message) -> bytes:
    """The payload: one msgpack map."""
    return _encoder.encode(message)


def decode(parts: list[bytes]) -> AnyMessage | None:
    """A message from `[topic, payload]`; None for a kind that is newer than this release. Raises `WireError`."""
    if len(parts) != 2 or not parts[0].startswith(TOPIC_ROOT.encode()):
        raise WireError(f"not a message of ours: {[part[:80] for part in parts[:3]]}")
    if parts[0].rpartition(b"/")[2].decode("utf-8", "replace") not in KINDS:
        return None
    return decode_payload(parts[1], parts[0].decode("utf-8", "replace"))


def decode_payload(payload: bytes, where: str = "payload") -> AnyMessage:
    """A message of a kind that this release knows. Raises `WireError` that begins with `where`."""
    try:
        message = _decoder.decode(payload)
        _check_values(message)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"{where}: malformed message ({error})") from None
    return message


def _check_values(message: AnyMessage) -> None:
    """Raises `ValueError` where values do not fill the frames that a message says it has."""
    if isinstance(message, PosteriorsMessage):
        width = len(message.labels)
    elif isinstance(message, ForecastMessage):
        width = message.horizon * len(message.channels)
        if message.scores is not msgspec.UNSET and len(message.scores) != 4 * message.frames:
            raise ValueError(f"{len(message.scores)} bytes of scores for {message.frames} frames")
    else:
        return
    if message.frames < 0 or len(message.values) != 4 * message.frames * width:
        raise ValueError(f"{len(message.values)} bytes of values for {message.frames} frames of {width}")


def as_dict(message: Message) -> dict[str, Any]:
    """A message for JSON: `values` become lists, one a frame, and `scores` a list."""
    fields: dict[str, Any] = {"kind": kind_of(message), **msgspec.structs.asdict(message)}
    fields = {name: value for name, value in fields.items() if value is not msgspec.UNSET}
    if isinstance(message, PosteriorsMessage | ForecastMessage):
        fields["values"] = message.array().tolist()
    if isinstance(scores := fields.get("scores"), bytes):
        fields["scores"] = np.frombuffer(scores, "<f4").tolist()
    return fields
