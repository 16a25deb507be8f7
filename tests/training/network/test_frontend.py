"""The front end: librosa's MFCC, in torch and in the graph, however the sound is cut."""

from __future__ import annotations

from itertools import pairwise

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from otolith.inference.runtime import open_session
from otolith_training.network.bands import spectrum_edges, spectrum_filters
from otolith_training.network.frontend import EnergyFrontend, MfccFrontend, RowsFrontend, SpectrumFrontend, fit_scaling
from otolith_training.network.graph import features_graph
from otolith_training.recipe import Channel, Mfcc, Rows, Spectrum

Floats = NDArray[np.float32]
SHAPES = {
    "factored": Mfcc(16000),
    "factored, three hops a window": Mfcc(16000, window_length=640, hop_length=240, n_mfcc=20),
    "a telephone's rate": Mfcc(8000, window_length=256, hop_length=160, n_mels=32, n_mfcc=32, f_max=3900),
    "no good factors": Mfcc(16000, window_length=502, hop_length=251),
    "hop is window": Mfcc(16000, window_length=320, hop_length=320),
}


def reference(samples: Floats, settings: Mfcc) -> Floats:
    """librosa's MFCC `(frames, mfcc)`, silence before the first hop."""
    before = np.zeros(settings.window_length - settings.hop_length, np.float32)
    power = librosa.feature.melspectrogram(
        y=np.concatenate((before, samples)),
        sr=settings.sample_rate,
        n_fft=settings.window_length,
        hop_length=settings.hop_length,
        n_mels=settings.n_mels,
        fmin=settings.f_min,
        fmax=settings.f_max,
        center=False,
    )
    decibels = librosa.power_to_db(power, top_db=None)
    mfcc: Floats = librosa.feature.mfcc(S=decibels, n_mfcc=settings.n_mfcc)
    return mfcc.T


def in_frames(samples: Floats, settings: Mfcc) -> Floats:
    whole = len(samples) // settings.hop_length
    return samples[: whole * settings.hop_length].reshape(1, whole, settings.hop_length)


@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES.keys())
def test_mfcc_are_librosas_in_torch_and_in_the_graph(clips: list[Floats], settings: Mfcc) -> None:
    frontend = MfccFrontend(settings)
    frontend.offset.normal_()
    session = open_session(features_graph(frontend).SerializeToString())
    for samples in clips:
        frames = in_frames(samples, settings)
        expected = reference(samples, settings)[: frames.shape[1]]
        state = frontend.fresh_state(1)
        raw, _ = frontend.raw(torch.from_numpy(frames), state)
        np.testing.assert_allclose(frontend.unscaled(raw)[0].numpy(), expected, atol=1e-3)
        feeds = {"frames": frames, **{f"state.{n}": v.numpy() for n, v in state.items() if v.numel()}}
        found = session.run(["features"], feeds)[0]
        np.testing.assert_allclose(found[0], expected, atol=1e-3)


@pytest.mark.parametrize("cuts", [[1] * 20, [7, 1, 12], [20]])
def test_however_the_frames_are_cut_the_features_are_the_same(clips: list[Floats], cuts: list[int]) -> None:
    settings = Mfcc(16000, window_length=800, hop_length=320)
    frontend = MfccFrontend(settings)
    frames = torch.from_numpy(in_frames(clips[0], settings)[:, :20])
    whole, _ = frontend(frames, frontend.fresh_state(1))
    state, parts = frontend.fresh_state(1), []
    for part in torch.split(frames, cuts, dim=1):
        features, state = frontend(part, state)
        parts.append(features)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=0)


SPECTRA = {
    "factored": Spectrum(12000, f_max=5400.0, f_min=40.0, scale="log"),
    "even bands": Spectrum(12000, f_max=5400.0, bands=100),
    "an odd window, bands narrower than its lines": Spectrum(
        12000, f_max=6000.0, f_min=10.0, scale="log", bands=90, window_length=301, hop_length=100
    ),
}


@pytest.mark.parametrize("settings", SPECTRA.values(), ids=SPECTRA.keys())
def test_bands_of_a_spectrum_are_the_mean_power_in_them_in_torch_and_in_the_graph(
    clips: list[Floats], settings: Spectrum
) -> None:
    frontend = SpectrumFrontend(settings)
    frontend.offset.normal_()
    hop, window = settings.hop_length, settings.window_length
    frames = clips[0][: len(clips[0]) // hop * hop].reshape(1, -1, hop)
    padded = np.concatenate((np.zeros(window - hop), clips[0]))
    windows = np.stack([padded[i * hop : i * hop + window] for i in range(frames.shape[1])]) * hann(window)
    power = np.abs(np.fft.rfft(windows)) ** 2
    expected = 10 * np.log10(np.maximum(power @ spectrum_filters(settings).astype(np.float64).T, 1e-10))
    raw, _ = frontend.raw(torch.from_numpy(frames), frontend.fresh_state(1))
    np.testing.assert_allclose(frontend.unscaled(raw)[0].numpy(), expected, atol=1e-2)
    session = open_session(features_graph(frontend).SerializeToString())
    state = {f"state.{name}": value.numpy() for name, value in frontend.fresh_state(1).items()}
    found = session.run(["features"], {"frames": frames, **state})[0]
    np.testing.assert_allclose(found[0], expected, atol=1e-2)


def test_an_average_is_the_mean_of_the_last_frames_however_they_are_cut(clips: list[Floats]) -> None:
    alone, averaged = (SpectrumFrontend(Spectrum(16000, f_max=7000.0, average=count)) for count in (1, 4))
    frames = torch.from_numpy(clips[0][: 30 * 512].reshape(1, 30, 512))
    bands, _ = alone.raw(frames, alone.fresh_state(1))
    state, parts = averaged.fresh_state(1), []
    for part in torch.split(frames, [1, 5, 2, 22], dim=1):
        mean, state = averaged.raw(part, state)
        parts.append(mean)
    found = torch.cat(parts, dim=1)
    torch.testing.assert_close(found[0, 3:], bands[0].unfold(0, 4, 1).mean(dim=-1), atol=1e-4, rtol=0)
    averaged.offset.copy_(bands.mean(dim=(0, 1)))
    first, _ = averaged(frames[:, :1], averaged.fresh_state(1))
    torch.testing.assert_close(first[0, 0] * 4, (bands[0, 0] - averaged.offset), atol=1e-3, rtol=0)


def hann(length: int) -> NDArray[np.float64]:
    """The window that is periodic, as of a spectrum."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


@pytest.mark.parametrize("settings", SPECTRA.values(), ids=SPECTRA.keys())
def test_every_band_weighs_one_and_looks_where_it_says(settings: Spectrum) -> None:
    filters = spectrum_filters(settings)
    assert filters.shape == (settings.bands, settings.window_length // 2 + 1)
    np.testing.assert_allclose(filters.sum(axis=1), 1, atol=1e-5)
    line = settings.sample_rate / settings.window_length
    centres = spectrum_edges(settings)[1:-1]
    assert (np.abs(filters.argmax(axis=1) * line - centres) <= line).all()


def test_silence_is_finite() -> None:
    frontend = MfccFrontend(Mfcc(16000))
    features, _ = frontend(torch.zeros(1, 3, 320), frontend.fresh_state(1))
    assert torch.isfinite(features).all()


@pytest.mark.parametrize("scaling", ["z-score", "min-max"])
def test_scaling_brings_training_rows_to_one_range(scaling: str) -> None:
    torch.manual_seed(0)
    rows = torch.randn(500, 3) * torch.tensor([1.0, 20.0, 0.0]) + torch.tensor([0.0, -9.8, 4.0])
    frontend = RowsFrontend(Rows(100.0, [], scaling="z-score" if scaling == "z-score" else "min-max"))
    frontend.features, frontend.offset, frontend.factor = 3, torch.zeros(3), torch.ones(3)
    fit_scaling(frontend, rows, scaling)
    scaled = frontend.scaled(rows)
    if scaling == "z-score":
        torch.testing.assert_close(scaled[:, :2].std(dim=0), torch.ones(2))
    else:
        torch.testing.assert_close(scaled[:, :2].abs().amax(dim=0), torch.ones(2))
    assert not scaled[:, 2].any()  # what never moves stays nothing


def test_neutral_features_are_zero_once_scaled() -> None:
    frontend = MfccFrontend(Mfcc(16000, n_mfcc=13))
    frontend.offset.normal_()
    torch.testing.assert_close(frontend.scaled(frontend.neutral()), torch.zeros(13), atol=1e-5, rtol=0)


def test_energies_are_the_mean_square_of_what_changed_however_rows_are_cut() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((1, 60, 2)) * [1.0, 0.001] + [0.0, 9.8]).astype(np.float32)
    frontend = EnergyFrontend(Rows(50.0, [Channel("x", "g"), Channel("y", "g")], energy_rows=5))
    frontend.offset.copy_(torch.tensor([0.0, 9.8, 0.0, 0.0]))
    whole, _ = frontend.raw(torch.from_numpy(rows), frontend.fresh_state(1))
    squares = np.diff(rows[0].astype(np.float64), axis=0) ** 2
    expected = 10 * np.log10(np.stack([squares[i - 5 : i].mean(axis=0) for i in range(5, 60)]))
    np.testing.assert_allclose(whole[0, 5:, 2:].numpy(), expected, atol=0.02)
    np.testing.assert_array_equal(whole[..., :2], rows)
    state, parts = frontend.fresh_state(1), []
    for start, end in pairwise([0, 1, 2, 9, 10, 60]):
        part, state = frontend.raw(torch.from_numpy(rows[:, start:end]), state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)


def test_below_what_training_showed_no_energy_is_told_apart() -> None:
    frontend = EnergyFrontend(Rows(50.0, [Channel("x", "g")], energy_rows=2))
    fit_scaling(frontend, torch.tensor([[0.0, -40.0], [1.0, -20.0]]), "z-score")
    features, _ = frontend(torch.full((1, 8, 1), 0.5), frontend.fresh_state(1))
    torch.testing.assert_close(features[0, 3:, 1], torch.full((5,), -(0.5**0.5)))
