"""A segment: a stretch of one stream's input and what was told of it, in files that are read as far as they are whole.

`NAME.log` holds records, each with its length and a checksum. Samples are raw in `NAME.part` while they come, and then
FLAC where that loses nothing (sound of 16 bits), WAV of floats for other sound, `.npy` for rows and tokens.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from otolith.errors import RecordingError
from otolith.inference.card import Trigger
from otolith.inference.framing import INT16_SCALE, Samples
from otolith.wire.messages import Message, encode

FORMAT = 1
LOG, RAW = ".log", ".part"
FINISHED = (".flac", ".wav", ".npy")
DTYPES = ("<i2", "<f4", "<i8")
HEAD = struct.Struct("<II")  # of a record: its length and CRC-32
MOST_BYTES = 1 << 28  # of a record
MODE = 0o600

Ending = Literal["goes on", "ended", "suspended", "broken", "changed"]


class Opening(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="opening"):
    """What stands first: all that is needed to hear the segment again.

    `before` is the stream as it stood, for whoever wrote it; `follows` names the segment whose end it goes on from, and
    `missed` counts samples that were not recorded before it.
    """

    format: int = FORMAT
    stream: str
    boot: str
    model: str  # name@digest
    digest: str
    kind: Literal["audio", "sensor", "token"]
    rate: float  # of the source
    dtype: str
    width: int  # of a row; 0 of samples and tokens
    posteriors_per_s: float
    triggers: dict[str, Trigger]
    before: bytes
    follows: str = ""
    missed: int = 0


class Heard(msgspec.Struct, frozen=True, array_like=True, tag="heard", gc=False):
    """A block without its samples, of which it had `count`."""

    count: int
    time_ns: int
    lost: int = 0
    reason: str = ""
    rate: float = 0.0
    ends: bool = False


class Told(msgspec.Struct, frozen=True, array_like=True, tag="told", gc=False):
    """A message's payload, as published."""

    payload: bytes


class Closing(msgspec.Struct, frozen=True, array_like=True, tag="closing"):
    """What stands last: how the segment ended."""

    how: Ending


Record = Opening | Heard | Told | Closing

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


class Segment:
    """Writes one, `name` in `folder`. Raises `OSError`; what was written before stays readable.

    Files are open only while they are written to: of a thousand streams they would be too many.
    """

    def __init__(self, folder: Path, name: str, opening: Opening) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.name, self.opening = name, opening
        self.log, self._raw = folder / (name + LOG), folder / (name + RAW)
        self._records: list[bytes] = []
        self._samples: list[bytes] = []
        self.unwritten = 0  # samples that were taken and not written yet
        self.bytes = 0  # that were written
        self._add(opening)
        self._flags = os.O_CREAT  # once: files that somebody removes in the meantime are an error, and not made anew
        self.flush()
        self._flags = 0

    def hear(self, heard: Heard, samples: Samples) -> None:
        """Take one block; it is written with the next `flush`."""
        self._add(heard)
        self.unwritten += heard.count
        self._samples.append(samples.astype(self.opening.dtype, copy=False).tobytes())

    def tell(self, message: Message) -> None:
        """Take one message, as `hear`."""
        self._add(Told(encode(message)))

    def flush(self) -> int:
        """Write what was taken, samples first; how many bytes that were."""
        if not self._records:
            return 0
        written = _append(self._raw, self._samples, self._flags) + _append(self.log, self._records, self._flags)
        self._samples, self._records, self.unwritten = [], [], 0
        self.bytes += written
        return written

    def close(self, how: Ending) -> int:
        """Write the end; how many bytes that were. `finish` says more briefly what the samples are."""
        self._add(Closing(how))
        return self.flush()

    def _add(self, record: Record) -> None:
        body = _encoder.encode(record)
        self._records.append(HEAD.pack(len(body), zlib.crc32(body)) + body)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A segment that was read, but for its samples. `how` it ended is `broken` where its end is not there."""

    log: Path
    opening: Opening
    heard: list[Heard]
    told: list[bytes]  # payloads of messages, in the order in which they came
    how: Ending

    def blocks(self) -> Iterator[tuple[Heard, NDArray[Any]]]:
        """Each block with its samples. Raises `RecordingError`."""
        samples, at = _read_samples(self.log, self.opening), 0
        for heard in self.heard:
            yield heard, samples[at : at + heard.count]
            at += heard.count


def read_segment(log: Path) -> Recorded:
    """As far as it is whole. Raises `RecordingError` where not even its beginning is."""
    records = _records(log)
    opening = next(records, None)
    if not isinstance(opening, Opening) or opening.dtype not in DTYPES:
        raise RecordingError(f"{log}: is no segment of a recording, or was cut off before it began")
    if opening.format != FORMAT:
        raise RecordingError(f"{log}: is of format {opening.format}, this release reads {FORMAT}")
    left = len(_read_samples(log, opening))
    heard: list[Heard] = []
    told: list[bytes] = []
    for record in records:
        match record:
            case Heard():
                left -= record.count
                if left < 0 or record.count < 0:
                    return Recorded(log, opening, heard, told, "broken")
                heard.append(record)
            case Told():
                told.append(record.payload)
            case Closing():
                return Recorded(log, opening, heard, told, record.how)
    return Recorded(log, opening, heard, told, "broken")


def read_opening(log: Path) -> Opening | None:
    """How a segment begins, if that can be read."""
    with suppress(OSError):
        first = next(_records(log), None)
        return first if isinstance(first, Opening) else None
    return None


def finish(log: Path) -> int:
    """Keep a closed segment's samples in their final form; how many bytes fewer there are. Raises `OSError`."""
    raw, opening = log.with_suffix(RAW), read_opening(log)
    if opening is None or not raw.exists():
        return 0
    before = raw.stat().st_size
    samples = _shaped(np.fromfile(raw, opening.dtype), opening.width)
    after = 0
    if len(samples):
        path = log.with_suffix(_suffix(samples, opening))
        beside = path.with_suffix(".new")
        try:
            with os.fdopen(_create(beside), "wb") as file:
                _write_final(file, samples, path.suffix, opening.rate)
            beside.rename(path)
        except (OSError, RuntimeError) as error:  # libsndfile tells of a full disk by the latter
            beside.unlink(missing_ok=True)
            raise error if isinstance(error, OSError) else OSError(0, str(error)) from None
        after = path.stat().st_size
    raw.unlink(missing_ok=True)
    return before - after


def _write_final(file: Any, samples: NDArray[Any], suffix: str, rate: float) -> None:
    if suffix == ".npy":
        np.save(file, samples, allow_pickle=False)
        return
    import soundfile

    if suffix == ".flac":
        whole = samples if samples.dtype == np.int16 else np.rint(samples / INT16_SCALE).astype(np.int16)
        soundfile.write(file, whole, round(rate), "PCM_16", format="FLAC")
    else:
        subtype = "PCM_16" if samples.dtype == np.int16 else "FLOAT"
        soundfile.write(file, samples, round(rate), subtype, format="WAV")


def _suffix(samples: NDArray[Any], opening: Opening) -> str:
    """FLAC holds 16 bits at up to 655,350 Hz; floats that are such go into it as well."""
    if opening.kind != "audio":
        return ".npy"
    if round(opening.rate) > 655_350:
        return ".wav"
    if samples.dtype == np.int16:
        return ".flac"
    scaled = samples / INT16_SCALE
    is_exact = bool((np.abs(scaled + 0.5) <= 32767.5).all()) and bool((scaled == np.rint(scaled)).all())
    return ".flac" if is_exact else ".wav"


def _read_samples(log: Path, opening: Opening) -> NDArray[Any]:
    try:
        for suffix in FINISHED:
            if (path := log.with_suffix(suffix)).exists():
                return _read_final(path, opening)
        raw = log.with_suffix(RAW)
        samples = np.fromfile(raw, opening.dtype) if raw.exists() else np.empty(0, opening.dtype)
        return _shaped(samples, opening.width)
    except (OSError, ValueError, RuntimeError, EOFError, MemoryError, SyntaxError) as error:
        raise RecordingError(f"{log}: its samples cannot be read ({error})") from None


def _read_final(path: Path, opening: Opening) -> NDArray[Any]:
    if path.suffix == ".npy":
        loaded: NDArray[Any] = np.load(path, allow_pickle=False)
        return loaded.astype(opening.dtype, copy=False)
    import soundfile

    is_float = opening.dtype == "<f4"
    samples, _ = soundfile.read(path, dtype="float32" if is_float else "int16")
    read: NDArray[Any] = samples
    return read


def _shaped(samples: NDArray[Any], width: int) -> NDArray[Any]:
    return samples[: len(samples) // width * width].reshape(-1, width) if width else samples


def _records(log: Path) -> Iterator[Record]:
    """Up to the first that is not whole."""
    with log.open("rb") as file:
        while len(head := file.read(HEAD.size)) == HEAD.size:
            length, checksum = HEAD.unpack(head)
            body = file.read(length) if length <= MOST_BYTES else b""
            if len(body) != length or zlib.crc32(body) != checksum:
                return
            try:
                yield _decoder.decode(body)
            except (msgspec.MsgspecError, ValueError, RecursionError):  # text that is no UTF-8 is a ValueError
                return


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)


def _append(path: Path, parts: list[bytes], flags: int) -> int:
    """All of it or, where that can be, nothing."""
    data = memoryview(b"".join(parts))
    length = len(data)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | flags, MODE)
    before = os.fstat(descriptor).st_size
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, before)
        raise
    finally:
        os.close(descriptor)
    return length
