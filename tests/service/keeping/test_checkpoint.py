"""A checkpoint's file: what is not as it was written is refused."""

from __future__ import annotations

import numpy as np
import pytest

from otolith.inference.engine import Engine
from otolith.inference.model import Model
from otolith.service.keeping.checkpoint import FORMAT, CheckpointError, collect, decode, encode, spread
from otolith.service.listener import Listener
from otolith.sources.source import Block
from otolith.wire.scribe import Scribe


@pytest.fixture(scope="module")
def content(tiny_audio: Model) -> bytes:
    engine = Engine(tiny_audio)
    listeners = {name: Listener(engine.add(), 16000, Scribe("b", name, tiny_audio)) for name in ("one", "two")}
    for number, listener in enumerate(listeners.values()):
        listener.take(Block(np.arange(700 + number, dtype=np.int16), 10**9))
    return encode(collect(listeners.items()))


def test_every_stream_is_in_it_with_its_own_state(content: bytes, tiny_audio: Model) -> None:
    kept = spread(decode(content))
    assert list(kept) == ["one", "two"]
    assert {each.model for each in kept.values()} == {tiny_audio.digest}
    assert [sum(map(len, each.memory.waiting)) for each in kept.values()] == [700, 701]
    assert kept["one"].memory.rows["state.hidden"].shape == (1, 4)


def test_every_flipped_byte_is_refused(content: bytes) -> None:
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(CheckpointError):
            decode(bytes(flipped))


def test_every_truncation_and_whatever_is_added_is_refused(content: bytes) -> None:
    for length in range(len(content)):
        with pytest.raises(CheckpointError):
            decode(content[:length])
    with pytest.raises(CheckpointError, match="cut off, or changed"):
        decode(content + b"\0")


def test_another_format_is_named(content: bytes) -> None:
    with pytest.raises(CheckpointError, match="another format"):
        decode(content.replace(FORMAT, b"otolith state 2\n"))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [[["digest", [], {"state": ("|O", [1], b"12345678")}]]],
        [[["digest", [], {"state": ("<f4", [-1, 3], b"12345678")}]]],
        [[["digest", [], {"state": ("<f4", [1 << 60], b"")}]]],
        [[["digest", [["name"]], {}]]],
    ],
)
def test_what_has_a_right_checksum_and_is_no_checkpoint_is_refused(value: object) -> None:
    with pytest.raises(CheckpointError, match="holds something else"):
        decode(encode(value))
