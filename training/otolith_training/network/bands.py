"""Bands: how a front end sums the bins of a power spectrum, and the cosine transform behind mel bands."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from otolith_training.recipe import Mfcc, Spectrum


def mel_filters(settings: Mfcc) -> NDArray[np.float32]:
    """Slaney's mel filters `(mels, bins)`, each of area one."""
    import librosa  # here, since it takes seconds to load

    filters: NDArray[np.float32] = librosa.filters.mel(
        sr=settings.sample_rate,
        n_fft=settings.window_length,
        n_mels=settings.n_mels,
        fmin=settings.f_min,
        fmax=settings.f_max,
        htk=False,
        norm="slaney",
        dtype=np.float32,
    )
    return filters


def mel_centres(settings: Mfcc) -> NDArray[np.float32]:
    """The centres of the mel filters `(mels,)`, in Hz."""
    import librosa

    edges = librosa.mel_frequencies(settings.n_mels + 2, fmin=settings.f_min, fmax=settings.f_max, htk=False)
    return np.asarray(edges[1:-1], np.float32)


def dct_matrix(n_mels: int, n_mfcc: int) -> NDArray[np.float32]:
    """The orthonormal DCT-II `(mels, mfcc)`."""
    angle = np.pi / n_mels * (np.arange(n_mels)[:, None] + 0.5) * np.arange(n_mfcc)[None, :]
    matrix = np.cos(angle) * math.sqrt(2 / n_mels)
    matrix[:, 0] /= math.sqrt(2)
    return np.asarray(matrix, np.float32)


def spectrum_edges(settings: Spectrum) -> NDArray[np.float64]:
    """Where bands begin, are widest open and end, in Hz: `(bands + 2,)`, evenly or by equal ratios apart."""
    spread = np.linspace if settings.scale == "linear" else np.geomspace
    edges: NDArray[np.float64] = spread(settings.f_min, settings.f_max, settings.bands + 2)
    return edges


def spectrum_filters(settings: Spectrum) -> NDArray[np.float32]:
    """Triangles `(bands, bins)` of sum one: a band is the mean power in it, however many bins it has.

    A band narrower than the spectrum's own lines is widened to them, or it would hold none.
    """
    edges = spectrum_edges(settings)
    line = settings.sample_rate / settings.window_length  # Hz from bin to bin
    frequency = np.arange(settings.window_length // 2 + 1) * line
    centre = edges[1:-1, None]
    below, above = np.maximum(centre - edges[:-2, None], line), np.maximum(edges[2:, None] - centre, line)
    rising, falling = (frequency - centre) / below, (centre - frequency) / above
    filters = np.maximum(0, 1 + np.minimum(rising, falling))  # (bands, bins)
    return np.asarray(filters / filters.sum(axis=1, keepdims=True), np.float32)
