"""What is done to features while training: another vocal tract moves what is heard, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from otolith_training.network.frontend import MfccFrontend
from otolith_training.network.loss import warp_bands
from otolith_training.recipe import Mfcc

FRONTEND = MfccFrontend(Mfcc(sample_rate=16000, n_mels=64))


def bands_of_tone(frequency: float) -> torch.Tensor:
    """Mel bands `(1, 20, 64)` of a tone in a little noise."""
    time_s = torch.arange(20 * 320) / 16000
    tone = 0.3 * torch.sin(2 * torch.pi * frequency * time_s) + 1e-3 * torch.randn(len(time_s))
    raw, _ = FRONTEND.raw(tone.reshape(1, 20, 320), FRONTEND.fresh_state(1))
    return raw


@pytest.mark.parametrize("frequency", [700.0, 1500.0, 3000.0])
@pytest.mark.parametrize("factor", [0.85, 0.93, 1.08, 1.15])
def test_a_tone_is_moved_by_the_factor(frequency: float, factor: float) -> None:
    warped = warp_bands(bands_of_tone(frequency), torch.tensor([factor]), FRONTEND.centres_hz)
    heard, straight = (bands[0, 5:].mean(dim=0).argmax() for bands in (warped, bands_of_tone(frequency * factor)))
    assert abs(int(heard) - int(straight)) <= 1


def test_streams_are_warped_each_by_its_own_factor_and_one_changes_nothing() -> None:
    raw = torch.randn(3, 5, 64)
    warped = warp_bands(raw, torch.tensor([1.0, 0.9, 1.1]), FRONTEND.centres_hz)
    torch.testing.assert_close(warped[0], raw[0], atol=1e-4, rtol=0)
    alone = warp_bands(raw[2:], torch.tensor([1.1]), FRONTEND.centres_hz)
    torch.testing.assert_close(warped[2:], alone)
    assert not torch.allclose(warped[1], raw[1], atol=0.1)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 1.5])
def test_bands_keep_their_order_and_the_highest_its_place(factor: float) -> None:
    centres = FRONTEND.centres_hz
    warped = warp_bands(centres[None, None], torch.tensor([factor]), centres)[0, 0]
    assert (warped.diff() >= 0).all()
    assert warped[-1] == pytest.approx(float(centres[-1]))
    low = (centres < 2000) & (centres / factor > centres[0])
    np.testing.assert_allclose(warped[low], centres[low] / factor, rtol=1e-4)
