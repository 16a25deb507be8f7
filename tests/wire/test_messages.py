"""The wire: the contract's fields, and what is refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otolith.errors import WireError
from otolith.wire.messages import (
    DetectionMessage,
    GapMessage,
    Message,
    PosteriorsMessage,
    StatusMessage,
    decode,
    encode,
    topic_of,
)

HEAD = {"boot": "b", "seq": 3, "stream": "kitchen", "model": "words@0123", "time_ns": 5, "position": 640}
COMMON = {"v", "boot", "seq", "stream", "model", "time_ns", "position"}
VALUES = np.array([[0.25, 0.75], [0.5, 0.5]], "<f4")

MESSAGES: dict[str, tuple[Message, set[str]]] = {
    "posteriors": (
        PosteriorsMessage(**HEAD, labels=["a", "b"], frames=2, values=VALUES.tobytes()),
        {"labels", "values", "frames"},
    ),
    "detection": (
        DetectionMessage(**HEAD, id=1, label="a", phase="start", confidence=0.9, onset_ns=1, latency_ms=4.0),
        {"id", "label", "phase", "confidence", "onset_ns", "latency_ms"},
    ),
    "gap": (GapMessage(**HEAD, lost=7, reason="unplugged"), {"lost", "reason"}),
    "status": (
        StatusMessage(**HEAD, frames=1, gaps=0, lost=0, drops=0, real_time_factor=0.01, uptime_s=2.0, level_dbfs=None),
        {"frames", "gaps", "drops", "real_time_factor", "uptime_s"},
    ),
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_kind_carries_the_fields_of_the_contract(kind: str) -> None:
    message, own = MESSAGES[kind]
    assert topic_of(message) == f"otolith/1/kitchen/{kind}".encode()
    plain = msgspec.msgpack.decode(encode(message))
    assert own | COMMON <= set(plain)
    assert plain["v"] == 1
    assert decode([topic_of(message), encode(message)]) == message


def test_values_are_little_endian_floats_frame_by_frame() -> None:
    message, _ = MESSAGES["posteriors"]
    plain = msgspec.msgpack.decode(encode(message))
    assert plain["values"] == b"\x00\x00\x80>\x00\x00@?\x00\x00\x00?\x00\x00\x00?"
    assert isinstance(message, PosteriorsMessage)
    np.testing.assert_array_equal(message.array(), VALUES)


def test_a_field_added_by_a_later_release_is_skipped() -> None:
    message, _ = MESSAGES["gap"]
    plain = {**msgspec.msgpack.decode(encode(message)), "mood": "good"}
    assert decode([topic_of(message), msgspec.msgpack.encode(plain)]) == message


def test_a_kind_of_a_later_release_is_skipped() -> None:
    assert decode([b"otolith/1/kitchen/smell", b"\x80"]) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_wire_error(payload: bytes) -> None:
    with pytest.raises(WireError, match="malformed message"):
        decode([b"otolith/1/kitchen/gap", payload])


@pytest.mark.parametrize(
    "change",
    [
        {"frames": 3},
        {"frames": -2},
        {"values": b"1"},
        {"labels": ["a"]},
        {"frames": 1 << 62},
        {"reason": 1, "frames": 0},
    ],
)
def test_values_that_do_not_fill_their_frames_are_refused(change: dict[str, object]) -> None:
    message, _ = MESSAGES["posteriors"]
    plain = {**msgspec.msgpack.decode(encode(message)), **change}
    with pytest.raises(WireError, match="bytes of values for"):
        decode([topic_of(message), msgspec.msgpack.encode(plain)])


def test_text_that_is_no_utf_8_and_depth_without_end_are_refused() -> None:
    message, _ = MESSAGES["gap"]
    payloads = [encode(message).replace(b"kitchen", b"kitche\xff"), b"\x81\xa1x" + b"\x91" * 100_000]
    for payload in payloads:
        with pytest.raises(WireError, match="malformed message"):
            decode([topic_of(message), payload])


@pytest.mark.parametrize("parts", [[], [b"otolith/1/a/gap"], [b"other/1/a/gap", b""], [b"a", b"b", b"c"]])
def test_what_is_not_ours_is_refused(parts: list[bytes]) -> None:
    with pytest.raises(WireError, match="not a message of ours"):
        decode(parts)
