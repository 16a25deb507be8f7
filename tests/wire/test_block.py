"""Blocks on their way in: what goes round comes round, and whatever else comes is refused with a reason."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otolith.errors import WireError
from otolith.wire.block import (
    MAX_BLOCK_BYTES,
    REASONS,
    Answer,
    Header,
    RefusedError,
    decode_answer,
    decode_block,
    encode_answer,
    encode_block,
)
from otolith.wire.datagram import decode_datagram, encode_datagram

HEADER = Header(boot="b", seq=7, kind="audio", format="s16le", rate=16000)
PLAIN = {"v": 1, "boot": "b", "seq": 7, "kind": "audio", "format": "s16le", "rate": 16000}
NAMES = st.from_regex(r"[\w-][\w.-]{0,15}", fullmatch=True)


def reason_of(parts: list[bytes]) -> str:
    with pytest.raises(RefusedError) as refused:
        decode_block(parts)
    assert refused.value.reason in REASONS
    return refused.value.reason


@given(
    stream=NAMES,
    seq=st.integers(0, (1 << 62) - 1),
    kind=st.sampled_from(["audio", "sensor"]),
    rate=st.floats(0.001, 1e6),
    rows=st.integers(0, 50),
    channels=st.integers(1, 4),
)
def test_what_is_encoded_is_decoded(stream: str, seq: int, kind: str, rate: float, rows: int, channels: int) -> None:
    header = Header(boot="run", seq=seq, kind=kind, format="f32le", rate=rate, channels=channels)  # type: ignore[arg-type]
    samples = np.random.default_rng(rows).random((rows, channels), np.float32)
    expected = samples if kind == "sensor" else samples[:, 0] if channels == 1 else samples.mean(axis=1)
    name, decoded, taken = decode_block(encode_block(stream, header, samples))
    assert (name, decoded) == (stream, header)
    np.testing.assert_array_equal(taken, expected)
    name, decoded, taken = decode_datagram(encode_datagram(stream, header, samples), "run")
    assert (name, decoded.seq, decoded.kind) == (stream, seq % (1 << 32), kind)
    assert decoded.rate == pytest.approx(rate, abs=0.0005)
    np.testing.assert_array_equal(taken, expected)


@given(st.lists(st.binary(max_size=700), max_size=5))
def test_any_parts_are_a_block_or_refused(parts: list[bytes]) -> None:
    assert reason_of(parts) == "malformed"


@given(header=st.binary(max_size=512), samples=st.binary(max_size=64))
def test_any_header_is_a_header_or_refused(header: bytes, samples: bytes) -> None:
    assert reason_of([b"kitchen", header, samples]) == "malformed"


@given(
    layout=st.sampled_from(["s16le", "f32le"]),
    kind=st.sampled_from(["audio", "sensor"]),
    channels=st.integers(1, 64),
    data=st.binary(max_size=1100),
)
def test_any_samples_are_samples_or_refused(layout: str, kind: str, channels: int, data: bytes) -> None:
    plain = {**PLAIN, "format": layout, "kind": kind, "channels": channels}
    try:
        _, _, samples = decode_block([b"kitchen", msgspec.msgpack.encode(plain), data])
    except RefusedError:
        return
    assert np.isfinite(samples).all()


@given(st.binary(max_size=1600))
def test_any_datagram_is_a_block_or_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        decode_datagram(data, "somebody")


@given(layout=st.sampled_from([1, 2, 3, 9]), channels=st.integers(0, 3), data=st.binary(max_size=60))
def test_any_samples_in_a_datagram_are_samples_or_refused(layout: int, channels: int, data: bytes) -> None:
    head = b"OTO\x01" + bytes([layout, 0, channels, 2]) + bytes(4) + (16_000_000).to_bytes(4, "little")
    try:
        _, _, samples = decode_datagram(head + b"ab" + data, "somebody")
    except RefusedError:
        return
    assert np.isfinite(samples).all()


FAULTS: dict[str, dict[str, object]] = {
    "another version": {"v": 2},
    "no run": {"boot": ""},
    "a run like a novel": {"boot": "b" * 65},
    "a negative seq": {"seq": -1},
    "a seq beyond counting": {"seq": 1 << 62},
    "a smell": {"kind": "smell"},
    "24 bits": {"format": "s24le"},
    "no rate": {"rate": 0},
    "a rate that is no number": {"rate": float("nan")},
    "an endless rate": {"rate": float("inf")},
    "no channels": {"channels": 0},
    "an orchestra": {"channels": 65},
    "sensor rows as counts": {"kind": "sensor"},
    "a header without end": {"mood": "x" * 600},
}


@pytest.mark.parametrize("change", FAULTS.values(), ids=FAULTS.keys())
def test_a_header_at_fault_is_malformed(change: dict[str, object]) -> None:
    assert reason_of([b"kitchen", msgspec.msgpack.encode({**PLAIN, **change}), bytes(4)]) == "malformed"


def test_a_field_of_a_later_release_is_skipped() -> None:
    _, header, _ = decode_block([b"kitchen", msgspec.msgpack.encode({**PLAIN, "mood": "good"}), b""])
    assert header == HEADER


@pytest.mark.parametrize(
    "name", [b"", b"a/b", b"a" * 65, b"kitchen\n", b"..", b".a", b"\xff", b"otolith 1", b"x" * 100_000]
)
def test_a_name_that_no_stream_can_have_is_malformed(name: bytes) -> None:
    assert reason_of([name, msgspec.msgpack.encode(PLAIN), b""]) == "malformed"


def test_a_map_nested_to_exhaust_the_reader_is_malformed() -> None:
    assert reason_of([b"kitchen", b"\x81\xa1x" + b"\x91" * 505, b""]) == "malformed"
    assert reason_of([b"kitchen", b"\x81\xa1x" + b"\x91" * 100_000, b""]) == "malformed"


def test_text_that_is_no_utf_8_is_malformed() -> None:
    header = msgspec.msgpack.encode(PLAIN).replace(b"\xa4boot\xa1b", b"\xa4boot\xa1\xff")
    assert reason_of([b"kitchen", header, b""]) == "malformed"
    with pytest.raises(WireError, match="not an answer"):
        decode_answer([b"kitchen", b"\x81\xa4kind\xa1\xff"])


def test_samples_that_are_too_many_or_broken_are_told_apart() -> None:
    header = msgspec.msgpack.encode(PLAIN)
    assert reason_of([b"kitchen", header, bytes(MAX_BLOCK_BYTES + 2)]) == "oversized"
    assert reason_of([b"kitchen", header, bytes(3)]) == "malformed"
    floats = msgspec.msgpack.encode({**PLAIN, "format": "f32le"})
    assert reason_of([b"kitchen", floats, np.array([0, np.nan], "<f4").tobytes()]) == "values"
    stereo = msgspec.msgpack.encode({**PLAIN, "format": "f32le", "channels": 2})
    assert reason_of([b"kitchen", stereo, np.array([3e38, 3e38], "<f4").tobytes()]) == "values"


def test_an_answer_goes_round_and_anything_else_is_a_wire_error() -> None:
    answer = Answer(kind="refused", reason="crowded", text="there are 10 streams already", passing=True)
    assert decode_answer([b"kitchen", encode_answer(answer)]) == answer
    for parts in ([], [b"kitchen"], [b"kitchen", b"\xc1"], [b"kitchen", b"\x80"]):
        with pytest.raises(WireError, match="not an answer"):
            decode_answer(parts)
