"""What is done to sound before it is heard: speed, a room, a level, soft edges, and noise of any colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FADE_S = 0.02  # a clip's own room begins and ends softly, so that no click gives a word away
SILENT = 1e-7


def change_speed(samples: Floats, speed: float, rate: int, quality: str = "QQ") -> Floats:
    """The samples played `speed` times as fast, pitch and all; `quality` is soxr's, the quickest if not told."""
    import soxr

    if abs(speed - 1) < 1e-3:
        return samples
    return np.asarray(soxr.resample(samples, rate * speed, rate, quality=quality), np.float32)


def reverberate(random: np.random.Generator, piece: Floats, rate: int) -> Floats:
    """The piece as heard in a small room: noise that decays behind the direct sound, and rings on behind the end."""
    from scipy.signal import fftconvolve  # type: ignore[import-untyped]

    decay_s = random.uniform(0.05, 0.3)
    time_s = np.arange(int(decay_s * rate)) / rate
    tail = random.standard_normal(len(time_s)) * np.exp(-6.9 * time_s / decay_s)
    tail *= 10 ** (random.uniform(-12, 3) / 20) / np.sqrt(np.sum(tail**2) + SILENT)
    tail[0] += 1.0
    return np.asarray(fftconvolve(piece, tail.astype(np.float32)), np.float32)


def coloured_noise(random: np.random.Generator, length: int, slope_db: float) -> Floats:
    """Noise of deviation 1 whose spectrum falls by `slope_db` an octave (0 white, -3 pink, -6 brown)."""
    spectrum = np.fft.rfft(random.standard_normal(length))
    octave = np.log2(np.maximum(np.arange(len(spectrum)), 16) / 16)
    noise = np.fft.irfft(spectrum * 10 ** (slope_db * octave / 20), length)
    return np.asarray(noise / noise.std(), np.float32)


def smooth_curve(random: np.random.Generator, bands: int) -> Floats:
    """A random curve over bands that a cheap microphone could have: deviation about 1, no sharp edges."""
    place = np.arange(bands) / max(1, bands - 1)
    curve = sum(random.normal(0, 0.5) * np.cos(np.pi * k * place + random.uniform(0, np.pi)) for k in (1, 2, 3, 4))
    return np.asarray(curve, np.float32)


def gain_to(samples: Floats, level_db: float) -> float:
    """The factor that brings the samples to `level_db` below full scale (RMS); near silence stays quiet."""
    rms = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
    return float(10 ** (level_db / 20) / max(rms, 1e-4))


def faded(piece: Floats, rate: int) -> Floats:
    """The piece, faded in and out in place."""
    fade = min(int(FADE_S * rate), len(piece) // 2)
    if fade:
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        piece[:fade] *= ramp
        piece[-fade:] *= ramp[::-1]
    return piece
