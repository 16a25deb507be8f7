"""A stream: gaps, fresh starts and what is left over."""

from __future__ import annotations

import numpy as np
import pytest

from otolith.inference.events import Detection, Gap, Posteriors
from otolith.inference.framing import NOT_FINITE
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from tests.tiny import HOP_LENGTH


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def test_a_gap_starts_the_stream_afresh(tiny_audio: Model) -> None:
    stream, fresh = Stream(tiny_audio), Stream(tiny_audio)
    stream.push(noise(5 * HOP_LENGTH))
    stream.gap(1234, "test")
    after, expected = stream.push(noise(3 * HOP_LENGTH, 1))[0], fresh.push(noise(3 * HOP_LENGTH, 1))[0]
    assert isinstance(after, Posteriors)
    assert isinstance(expected, Posteriors)
    assert after.position == expected.position == 3 * HOP_LENGTH
    np.testing.assert_array_equal(after.values, expected.values)


def test_a_gap_counts_the_samples_that_waited_for_their_frame(tiny_audio: Model) -> None:
    stream = Stream(tiny_audio)
    stream.push(noise(2 * HOP_LENGTH + 100))
    assert Gap(2 * HOP_LENGTH, 1100, "unplugged") in stream.gap(1000, "unplugged")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_block_that_is_not_finite_is_lost_whole_and_poisons_nothing(tiny_audio: Model, bad: float) -> None:
    stream = Stream(tiny_audio)
    block = noise(3 * HOP_LENGTH)
    block[500] = bad
    assert [e for e in stream.push(block) if isinstance(e, Gap)] == [Gap(0, 3 * HOP_LENGTH, NOT_FINITE)]
    posteriors = stream.push(noise(HOP_LENGTH))[0]
    assert isinstance(posteriors, Posteriors)
    assert np.isfinite(posteriors.values).all()


def test_an_active_detection_ends_before_a_gap(tiny_audio: Model) -> None:
    stream = Stream(tiny_audio)
    started = [e for e in stream.push(noise(200 * HOP_LENGTH)) if isinstance(e, Detection)]
    active = {e.id for e in started if e.phase == "start"} - {e.id for e in started if e.phase == "end"}
    assert active, "the noise should leave a label active"
    *ends, gap = stream.gap(1, "test")
    assert isinstance(gap, Gap)
    assert {e.id for e in ends if isinstance(e, Detection) and e.phase == "end"} == active


def test_detection_ids_go_on_over_a_gap(tiny_audio: Model) -> None:
    stream = Stream(tiny_audio)
    first = [e.id for e in stream.push(noise(100 * HOP_LENGTH)) if isinstance(e, Detection)]
    stream.gap(1, "test")
    second = [e.id for e in stream.push(noise(100 * HOP_LENGTH)) if isinstance(e, Detection)]
    assert min(second) == max(first) + 1


def test_int16_and_float_blocks_are_the_same_sound(tiny_audio: Model) -> None:
    counts = np.random.default_rng(0).integers(-32768, 32767, 4 * HOP_LENGTH, np.int16)
    a = Stream(tiny_audio).push(counts)[0]
    b = Stream(tiny_audio).push((counts / 32768).astype(np.float32))[0]
    assert isinstance(a, Posteriors)
    assert isinstance(b, Posteriors)
    np.testing.assert_array_equal(a.values, b.values)


def test_a_fork_goes_on_as_its_stream_would_and_neither_hears_the_other(tiny_audio: Model) -> None:
    stream, alone = Stream(tiny_audio), Stream(tiny_audio)
    for each in (stream, alone):
        each.push(noise(50 * HOP_LENGTH + 100))  # samples wait, labels are active
    fork = stream.fork()
    fork.push(noise(70 * HOP_LENGTH + 33, 1))
    a, b = stream.push(noise(60 * HOP_LENGTH, 2)), alone.push(noise(60 * HOP_LENGTH, 2))
    assert [e for e in a if isinstance(e, Detection)] == [e for e in b if isinstance(e, Detection)] != []
    assert isinstance(a[0], Posteriors)
    assert isinstance(b[0], Posteriors)
    np.testing.assert_array_equal(a[0].values, b[0].values)
    assert (fork.received, stream.received) == (120 * HOP_LENGTH + 133, 110 * HOP_LENGTH + 100)
