"""The level: what is told of a stream's loudness is what its samples hold, in company too."""

from __future__ import annotations

import numpy as np
import pytest

from otolith.inference.engine import Engine
from otolith.inference.level import Level
from otolith.inference.model import Model
from otolith.inference.stream import Stream


def level_of(samples: np.ndarray) -> Level:
    level = Level()
    level.add(float(samples.max()), float(samples.min()), float(samples.sum()), len(samples))
    return level


def test_a_seat_tells_the_level_of_what_it_stepped_and_of_nobody_else(tiny_audio: Model) -> None:
    rng = np.random.default_rng(0)
    sounds = [rng.uniform(-peak, peak, 1600).astype(np.float32) + offset for peak, offset in ((0.5, 0.1), (0.01, 0.0))]
    engine = Engine(tiny_audio, looks_at_levels=True)
    seats = [engine.add() for _ in sounds]
    for start in range(0, 1600, 400):
        for seat, sound in zip(seats, sounds, strict=True):
            seat.push(sound[start : start + 400])
        engine.step()
    for seat, sound in zip(seats, sounds, strict=True):
        alone = Stream(tiny_audio)
        alone.push(sound)
        for level in (seat.take_level(), alone.take_level()):
            assert level.samples == 1600
            assert level.peak == pytest.approx(np.abs(sound).max(), abs=1e-6)
            assert level.offset == pytest.approx(sound.mean(), abs=1e-5)
        assert seat.take_level().samples == 0


def test_silence_that_no_microphone_makes_is_flat_and_a_faint_hum_is_not() -> None:
    assert level_of(np.zeros(100)).is_flat
    assert not level_of(np.tile([0.0, 1 / 32768], 50)).is_flat
    assert not Level().is_flat


def test_full_scale_either_way_is_clipping() -> None:
    assert level_of(np.array([0.1, -1.0])).is_clipped
    assert level_of(np.array([0.1, 32767 / 32768])).is_clipped
    assert not level_of(np.array([0.1, -0.99])).is_clipped
