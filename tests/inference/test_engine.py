"""The engine: each seat says what a stream of its own would say."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

from otolith.inference.engine import Engine, Seat
from otolith.inference.events import Detection, Event, Gap, Posteriors
from otolith.inference.framing import NOT_FINITE
from otolith.inference.model import Model
from otolith.inference.stream import END, Stream
from tests.tiny import HOP_LENGTH


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-16000, 16000, samples).astype(np.int16)


def heard(engine: Engine, seats: list[Seat]) -> list[list[Event]]:
    """Everything that waits, stepped; events by seat."""
    told: list[list[Event]] = [[] for _ in seats]
    for seat, events in engine.step():
        told[seats.index(seat)] += events
    return told


def values_of(events: list[Event]) -> np.ndarray:
    return np.concatenate([e.values for e in events if isinstance(e, Posteriors)])


def others_of(events: list[Event]) -> list[Event]:
    """What is no posteriors, confidence to five places: a batch's sums round otherwise than a stream's."""
    told = [e for e in events if not isinstance(e, Posteriors)]
    return [
        Detection(e.position, e.id, e.label, e.phase, round(e.confidence, 4), e.onset)
        if isinstance(e, Detection)
        else e
        for e in told
    ]


def assert_same(found: list[Event], expected: list[Event]) -> None:
    np.testing.assert_allclose(values_of(found), values_of(expected), atol=1e-5)
    assert others_of(found) == others_of(expected)


@pytest.mark.parametrize("largest_batch", [1, 2, 5, 64])
def test_seats_hear_what_streams_hear_however_large_a_batch_may_be(tiny_audio: Model, largest_batch: int) -> None:
    engine = Engine(tiny_audio, largest_batch=largest_batch)
    seats, streams = [engine.add() for _ in range(11)], [Stream(tiny_audio) for _ in range(11)]
    blocks = [noise(57 * HOP_LENGTH + 31 * number, number) for number in range(11)]
    for seat, block in zip(seats, blocks, strict=True):
        seat.push(block)
    for events, stream, block in zip(heard(engine, seats), streams, blocks, strict=True):
        assert_same(events, stream.push(block))


def test_streams_that_stall_keep_their_state_while_others_go_on(tiny_audio: Model) -> None:
    engine = Engine(tiny_audio, largest_batch=4)
    seats, streams = [engine.add() for _ in range(6)], [Stream(tiny_audio) for _ in range(6)]
    for moment in range(9):
        for number, (seat, stream) in enumerate(zip(seats, streams, strict=True)):
            if moment % (number + 1) == 0:
                seat.push(block := noise(700, 10 * moment + number))
                assert_same(heard(engine, seats)[number], stream.push(block))


def test_sensor_rows_are_stepped_as_they_are(tiny_sensor: Model) -> None:
    engine = Engine(tiny_sensor)
    seats = [engine.add() for _ in range(3)]
    rows = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    for number, seat in enumerate(seats):
        seat.push(rows[number:])
    for number, events in enumerate(heard(engine, seats)):
        assert_same(events, Stream(tiny_sensor).push(rows[number:]))


def test_int16_and_float_blocks_may_meet_in_one_batch_and_in_one_stream(tiny_audio: Model) -> None:
    engine = Engine(tiny_audio)
    seats = [engine.add() for _ in range(2)]
    counts = noise(7 * HOP_LENGTH)
    floats = (counts / 32768).astype(np.float32)
    seats[0].push(counts)
    seats[1].push(counts[:500])
    seats[1].push(floats[500:])
    first, second = heard(engine, seats)
    np.testing.assert_allclose(values_of(first), values_of(second), atol=1e-6)


def test_frames_that_fill_no_call_wait_for_company_if_they_may(tiny_audio: Model) -> None:
    engine = Engine(tiny_audio, frames_per_step=4)
    seat = engine.add()
    seat.push(noise(6 * HOP_LENGTH + 5))
    ((_, events),) = engine.step(all_waiting=False)
    assert len(values_of(events)) == 4
    assert engine.waiting == 1
    assert engine.step(all_waiting=False) == []
    ((_, events),) = engine.step()
    assert len(values_of(events)) == 2
    assert (engine.waiting, seat.position, seat.received) == (0, 6 * HOP_LENGTH, 6 * HOP_LENGTH + 5)


def test_a_row_given_back_starts_afresh(tiny_audio: Model) -> None:
    engine = Engine(tiny_audio)
    stays, goes = engine.add(), engine.add()
    goes.push(noise(50 * HOP_LENGTH + 7))
    assert Gap(50 * HOP_LENGTH, 7, END) in goes.close()
    comes = engine.add()
    assert engine.streams == 2
    comes.push(block := noise(20 * HOP_LENGTH, 1))
    assert_same(heard(engine, [stays, comes])[1], Stream(tiny_audio).push(block))


def test_a_gap_tells_first_what_waited_before_it(tiny_audio: Model) -> None:
    engine, stream = Engine(tiny_audio), Stream(tiny_audio)
    seat = engine.add()
    seat.push(noise(90 * HOP_LENGTH + 11))
    assert_same(seat.gap(1000, "unplugged"), stream.push(noise(90 * HOP_LENGTH + 11)) + stream.gap(1000, "unplugged"))
    assert engine.step() == []


def test_a_block_that_is_not_finite_is_lost_whole(tiny_audio: Model) -> None:
    engine = Engine(tiny_audio)
    seat = engine.add()
    seat.push(np.zeros(HOP_LENGTH + 3, np.float32))
    posteriors, gap = seat.push(np.array([0, np.nan, 1], np.float32))
    assert isinstance(posteriors, Posteriors)
    assert gap == Gap(HOP_LENGTH, 6, NOT_FINITE)


def test_a_seat_that_was_given_back_is_not_used_again(tiny_audio: Model) -> None:
    seat = Engine(tiny_audio).add()
    seat.close()
    with pytest.raises(ValueError, match="given back"):
        seat.push(noise(10))


def test_a_further_stream_costs_at_most_30_kb(words: Model) -> None:
    engine = Engine(words)
    block = np.zeros(1280 + 100, np.int16)
    gc.collect()
    tracemalloc.start()
    for seat in (seats := [engine.add() for _ in range(300)]):
        seat.push(block.copy())
    engine.step()
    engine.step()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / len(seats) < 30_000
