"""The signal stitcher: endless streams of pieces, each frame with what it may be called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otolith.errors import OtolithError
from otolith_training.data.signal_stitcher import SignalStitcher
from otolith_training.data.signals import Signal
from otolith_training.recipe import Signals, Spectrum

FRONTEND = Spectrum(sample_rate=1000, f_max=400.0, window_length=100, hop_length=50, bands=8)
AS_THEY_ARE = Signals(piece_s=(0.5, 1.0), known_after_s=0.1, speed=(1.0, 1.0), gain_db=0.0, equalizer_db=0.0)
FRAMES = 20


def stitcher(
    settings: Signals = AS_THEY_ARE, seed: int = 1, samples: int = 3000, fresh_start: float = 0.0
) -> SignalStitcher:
    """Two labels: a recording of 0.25, and one of 0.75."""
    levels = [
        Signal(str(label), Path(), "", None, "train", np.full(samples, 0.25 + label / 2, np.float32))
        for label in (0, 1)
    ]
    return SignalStitcher(
        [(signal, label) for label, signal in enumerate(levels)],
        settings,
        FRONTEND,
        2,
        streams=8,
        frames=FRAMES,
        fresh_start=fresh_start,
        seed=seed,
    )


def test_the_same_seed_gives_the_same_streams() -> None:
    settings = Signals()
    one, two, other = (stitcher(settings, seed).next() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.frames, two.frames)
    assert not np.array_equal(one.frames, other.frames)


def test_a_frame_is_called_what_it_is_and_a_young_piece_also_what_was_before() -> None:
    streams = stitcher()
    first = streams.next()
    assert first.fresh.all()
    assert first.allowed[:, 0].all()  # the window is not full yet: not counted
    frames = np.concatenate([first.frames, *(streams.next().frames for _ in range(20))], axis=1)
    streams = stitcher()
    allowed = np.concatenate([streams.next().allowed for _ in range(21)], axis=1)
    label = (frames.mean(axis=2) > 0.5).astype(int)  # pieces are whole hops, so no frame holds two
    assert np.take_along_axis(allowed, label[..., None], axis=2).all()
    both = allowed.all(axis=2)
    changes = np.diff(label, axis=1) != 0
    assert both[:, 1:][changes].all()
    told = ~both
    assert told.mean() > 0.7
    assert set(label[told].tolist()) == {0, 1}


def test_a_fresh_stream_begins_with_a_piece_of_its_own() -> None:
    streams = stitcher(fresh_start=0.5)
    streams.next()
    chunk = streams.next()
    assert 0 < chunk.fresh.sum() < 8
    assert chunk.allowed[chunk.fresh, 0].all()
    begun = chunk.frames[chunk.fresh, 0]
    np.testing.assert_allclose(begun, begun[:, :1].repeat(50, axis=1), atol=1e-6)


def test_a_gain_goes_no_further_than_a_sensor_does() -> None:
    chunk = stitcher(Signals(gain_db=20.0)).next()
    assert np.abs(chunk.frames).max() == 1.0
    assert chunk.colour_db is not None
    assert chunk.colour_db.shape == (8, 8)


def test_recordings_too_short_to_fill_a_frame_are_refused() -> None:
    with pytest.raises(OtolithError, match="no recording to learn from is 100 samples long"):
        stitcher(samples=60)
