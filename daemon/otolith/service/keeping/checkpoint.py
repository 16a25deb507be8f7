"""A checkpoint: the streams of a daemon as they stood at one moment, as a value and as the bytes of a file.

The file is a line that names the format, a digest of all behind it, and one msgpack array. A byte that is not as it was
written, or a file that was cut off, is refused whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
import numpy as np

from otolith.errors import OtolithError
from otolith.inference.engine import Engine, Seat
from otolith.inference.memory import Mark, Memories
from otolith.service.keeping.resumption import Ear, Kept
from otolith.service.listener import Listener

FORMAT = b"otolith state 1\n"
DIGEST_BYTES = 16
DTYPES = ("<f4", "<i2", "<i8", "<f8")
T = TypeVar("T")


class CheckpointError(OtolithError):
    """A file that is no checkpoint of this format, or not as it was written."""


class Named(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One stream's part that is no row of its model's arrays."""

    stream: str
    position: int
    next_id: int
    labels: dict[str, Mark]
    waiting: list[np.ndarray]
    ear: Ear


class Group(msgspec.Struct, array_like=True, frozen=True):
    """The streams of one model, and their rows `(streams, ...)`."""

    model: str
    streams: list[Named]
    rows: dict[str, np.ndarray]


class Checkpoint(msgspec.Struct, array_like=True, frozen=True):
    """All streams of one process, but for those that began after `since_ns`, UTC: they may have been heard as well.

    Of those from the network that are `gone` it is known how far they had come: their producer's run, and its count.
    """

    groups: list[Group]
    since_ns: int = 0  # unknown: a file of an earlier version
    gone: dict[str, tuple[str, int]] = {}


def collect(listeners: Iterable[tuple[str, Listener]], *, with_unheard: bool = False) -> Checkpoint:
    """How those streams stand now; `with_unheard` of those too that have heard nothing.

    To be called where nothing steps them; what is kept is theirs no more.
    """
    by_engine: dict[Engine, list[tuple[str, Listener, Seat]]] = {}
    for name, listener in listeners:
        if isinstance(seat := listener.stream, Seat) and (with_unheard or listener.has_heard):
            by_engine.setdefault(seat.engine, []).append((name, listener, seat))
    return Checkpoint([_group(engine, those) for engine, those in by_engine.items()])


def _group(engine: Engine, those: list[tuple[str, Listener, Seat]]) -> Group:
    known = engine.remember([seat for _, _, seat in those])
    named = zip(those, known.minds, strict=True)
    streams = [Named(name, *mind, listener.remember()) for (name, listener, _), mind in named]
    return Group(engine.model.digest, streams, known.rows)


def spread(checkpoint: Checkpoint) -> dict[str, Kept]:
    """What is kept of each stream."""
    kept = {}
    for group in checkpoint.groups:
        minds = [(each.position, each.next_id, each.labels, each.waiting) for each in group.streams]
        memories = Memories(minds, group.rows)
        for place, each in enumerate(group.streams):
            kept[each.stream] = Kept(group.model, memories[place], each.ear)
    return kept


def alone(stream: str, kept: Kept) -> Group:
    """One stream, for a checkpoint."""
    memory = kept.memory
    named = Named(stream, memory.position, memory.next_id, memory.labels, memory.waiting, kept.ear)
    return Group(kept.model, [named], memory.rows)


def encode(value: Any, heading: bytes = FORMAT) -> bytes:
    """The bytes of a file."""
    body = _encoder.encode(value)
    return heading + hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() + body


def decode(content: bytes) -> Checkpoint:
    """What `encode` was given. Raises `CheckpointError`."""
    return decode_as(Checkpoint, content, FORMAT)


def decode_as(kind: type[T], content: bytes, heading: bytes) -> T:
    """The `kind` of value in a file of that heading. Raises `CheckpointError`."""
    if not content.startswith(heading):
        raise CheckpointError(f"begins with {content[: len(heading)]!r}, not with {heading!r}: another format")
    digest, body = content[len(heading) :][:DIGEST_BYTES], content[len(heading) + DIGEST_BYTES :]
    if hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() != digest:
        raise CheckpointError("is not as it was written: cut off, or changed")
    try:
        return msgspec.msgpack.decode(body, type=kind, dec_hook=_unpack)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"holds something else ({error})") from None


def _pack(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(type(value))
    little = value.astype(value.dtype.newbyteorder("<"), copy=False)
    return little.dtype.str, little.shape, little.tobytes()


def _unpack(_kind: type[Any], packed: Any) -> Any:
    dtype, shape, data = packed
    if dtype not in DTYPES or not isinstance(data, bytes):
        raise ValueError(f"an array of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_pack)
