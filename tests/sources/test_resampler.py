"""Resampling: the same sound whatever the cutting, with its time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otolith.sources.resampler import Resampler


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_all_the_sound_comes_out_in_the_end(rate: int) -> None:
    resampler = Resampler(rate, 16000)
    given_s = (
        len(resampler.push(np.zeros(rate, np.int16))) + len(resampler.push(np.zeros(0, np.int16), last=True))
    ) / 16000
    assert given_s == pytest.approx(1.0, abs=1e-3)


def test_the_delay_is_what_the_filter_holds_back() -> None:
    resampler = Resampler(48000, 16000)
    given = len(resampler.push(np.zeros(4800, np.float32)))
    assert resampler.delay_s == pytest.approx(0.1 - given / 16000)
    assert 0 <= resampler.delay_s < 0.05


@given(cuts=st.lists(st.integers(0, 9600), max_size=12).map(sorted))
@settings(max_examples=25, deadline=None)
def test_the_cutting_changes_no_sample(cuts: list[int]) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 9600).astype(np.float32)
    whole, cut = Resampler(48000, 16000), Resampler(48000, 16000)
    expected = np.concatenate([whole.push(sound), whole.push(sound[:0], last=True)])
    pieces = [cut.push(sound[a:b]) for a, b in zip([0, *cuts], [*cuts, len(sound)], strict=True)]
    np.testing.assert_allclose(np.concatenate([*pieces, cut.push(sound[:0], last=True)]), expected, atol=1e-6)
