"""A block on its way in: what a producer sends, field by field, and every check at the door.

Multipart `[stream, header, samples]`: the stream's name in UTF-8, one msgpack map, the samples' bytes. The daemon
answers `[stream, answer]`. `docs/ingest.md` is their description. Whatever the bytes, decoding gives a block or raises
`RefusedError`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Literal, get_args

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from otolith.errors import WireError
from otolith.inference.framing import INT16_SCALE, Samples
from otolith.settings import STREAM_NAME

VERSION = 1
MAX_BLOCK_BYTES = 1 << 18
MAX_HEADER_BYTES = 512  # far below the depth at which a nested map exhausts the decoder's stack
MAX_NAME_BYTES = 256
NAMES_KEPT = 4096  # of those that are in order

Kind = Literal["audio", "sensor"]
Format = Literal["s16le", "f32le"]
DTYPES: dict[Format, np.dtype[np.generic]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
SAMPLE_BYTES: dict[Format, int] = {"s16le": 2, "f32le": 4}

Reason = Literal[
    "malformed",  # not a block of ours: parts, name, header, or a size that does not fit its format
    "oversized",  # more than MAX_BLOCK_BYTES
    "values",  # a sample that is no number
    "late",  # came twice, or behind its time
    "changed",  # another kind, rate or number of channels than the stream began with
    "foreign",  # a datagram from a network that is not allowed
    "unrouted",  # no route takes the stream, or its model cannot serve it
    "taken",  # another producer holds the name
    "crowded",  # over max_streams
    "hurried",  # over max_streams_per_s
]
REASONS: tuple[Reason, ...] = get_args(Reason)
PASSING: tuple[Reason, ...] = ("late", "taken", "crowded", "hurried")  # the next block may be taken


class RefusedError(WireError):
    """A block that was not taken, and why; `reason` is one of `REASONS`."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Header(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a block says of its samples.

    `boot` names the producer's run. `seq` is how many samples (or rows) of the stream came before this block: what is
    missing shows to the sample. `rate` is in Hz, of samples or rows; `time_ns` the UTC capture time of the block's last
    sample (0: not known); `end` says goodbye.
    """

    v: Literal[1] = 1
    boot: Annotated[str, Meta(min_length=1, max_length=64)]
    seq: Annotated[int, Meta(ge=0, lt=1 << 62)]
    kind: Kind
    format: Format
    rate: Annotated[float, Meta(gt=0, le=1_000_000)]
    channels: Annotated[int, Meta(ge=1, le=64)] = 1
    time_ns: Annotated[int, Meta(ge=0, lt=1 << 62)] = 0
    end: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon tells a producer of one stream.

    `welcome`: the stream is listened to; `goodbye`: all of it was; `refused`: a block was not taken (`passing`: a later
    one may be); `behind`: the daemon was too slow and lost the oldest. `text` is for people.
    """

    v: int = VERSION
    kind: Literal["welcome", "refused", "behind", "goodbye"]
    reason: str = ""
    text: str = ""
    passing: bool = False


_header_decoder = msgspec.msgpack.Decoder(Header)
_answer_decoder = msgspec.msgpack.Decoder(Answer)
_encoder = msgspec.msgpack.Encoder()
_name = re.compile(STREAM_NAME)


def encode_block(stream: str, header: Header, samples: NDArray[np.generic]) -> list[bytes]:
    """`[stream, header, samples]`; the samples have the header's format already."""
    return [stream.encode(), _encoder.encode(header), samples.tobytes()]


def decode_block(parts: Sequence[bytes]) -> tuple[str, Header, Samples]:
    """A stream's name, its header, and samples as `read_samples` gives them. Raises `RefusedError` on anything else."""
    if len(parts) != 3:
        raise RefusedError("malformed", f"{len(parts)} parts; send [stream, header, samples]")
    header = _decode_header(parts[1])
    return decode_name(parts[0]), header, read_samples(parts[2], header.kind, header.format, header.channels)


@lru_cache(NAMES_KEPT)
def decode_name(part: bytes) -> str:
    """A stream's name. Raises `RefusedError`."""
    try:
        name = part[: MAX_NAME_BYTES + 1].decode()
    except UnicodeDecodeError:
        name = ""
    if not _name.fullmatch(name):
        raise RefusedError(
            "malformed", f"stream name {part[:80]!r}: use letters, digits, . _ and -, no dot first, 64 at most"
        )
    return name


def read_samples(data: bytes, kind: Kind, sample_format: Format, channels: int) -> Samples:
    """Samples `(n,)`, several channels mixed to mono, or sensor rows `(n, channels)` float32. Raises `RefusedError`."""
    if len(data) > MAX_BLOCK_BYTES:
        raise RefusedError("oversized", f"{len(data)} bytes of samples; send {MAX_BLOCK_BYTES} at most in a block")
    if kind == "sensor" and sample_format != "f32le":
        raise RefusedError("malformed", f"sensor rows as {sample_format}; send f32le, in the units of the model's card")
    if len(data) % (SAMPLE_BYTES[sample_format] * channels):
        raise RefusedError("malformed", f"{len(data)} bytes are no whole number of {channels} x {sample_format}")
    samples: Samples = np.frombuffer(data, DTYPES[sample_format])
    if kind == "sensor" or channels > 1:
        samples = samples.reshape(-1, channels)
    if kind == "audio" and channels > 1:
        samples = mono(samples)
    if sample_format == "f32le" and not np.isfinite(samples).all():
        raise RefusedError("values", "a sample is no number; leave out what was not measured and let seq tell")
    return samples


def mono(samples: Samples) -> NDArray[np.float32]:
    """The mean of several channels `(n, channels)`, int16 or float32, as samples `(n,)` in -1..1."""
    with np.errstate(over="ignore", invalid="ignore"):  # a stranger's numbers: whoever reads them checks what came out
        mixed: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
    return mixed * INT16_SCALE if samples.dtype == np.int16 else mixed


def encode_answer(answer: Answer) -> bytes:
    """One msgpack map."""
    return _encoder.encode(answer)


def decode_answer(parts: Sequence[bytes]) -> Answer:
    """What the daemon told, from `[stream, answer]`. Raises `WireError`."""
    try:
        return _answer_decoder.decode(parts[1])
    except (msgspec.MsgspecError, ValueError, IndexError, RecursionError) as error:
        raise WireError(
            f"not an answer of a daemon's ({error}); is this the address that it takes blocks on?"
        ) from None


def _decode_header(part: bytes) -> Header:
    if len(part) > MAX_HEADER_BYTES:
        raise RefusedError("malformed", f"header of {len(part)} bytes; {MAX_HEADER_BYTES} are enough")
    try:
        return _header_decoder.decode(part)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # text that is no UTF-8 is a ValueError
        raise RefusedError("malformed", f"header: {error}; docs/ingest.md tells what must be there") from None
