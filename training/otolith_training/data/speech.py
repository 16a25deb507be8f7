"""What an engine spoke, as a clip for the trainer: 16 kHz mono, little silence at its ends, at a size and a level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from otolith.errors import RecordingError
from otolith.recordings import read_audio
from otolith_training.data.voices import VoiceError

Floats = NDArray[np.float32]

RATE = 16000  # Hz
SHORTEST_S, LONGEST_S = 0.1, 20.0
SILENCE = 1e-3  # of full scale: no sample louder is no speech
QUIET_DB = -40.0  # below the loudest frame: silence at an end
KEPT_S = 0.1  # of silence at either end
FRAME = 160  # samples
PEAK = 0.89  # -1 dB: nothing clips


def read_speech(wav: Path, size: float, level_db: float) -> Floats:
    """The clip `(n,)` in a wav file, played `size` times as fast, its voiced part at `level_db` below full scale (RMS).

    Faster is higher and of smaller body (pitch and formants alike); `level_db` gives way where peaks would clip.
    Raises `VoiceError` on silence, and on what is no sound.
    """
    try:
        samples, rate = read_audio(wav)
    except RecordingError as error:
        raise VoiceError(str(error).partition(": ")[2]) from None
    if np.abs(samples).max() < SILENCE:
        raise VoiceError("spoke nothing but silence")
    if not SHORTEST_S <= len(samples) / rate <= LONGEST_S:
        raise VoiceError(f"spoke for {len(samples) / rate:.2f} s")
    return _level(_trim(soxr.resample(samples, rate * size, RATE)), level_db)


def write_speech(path: Path, samples: Floats) -> None:
    """Write a clip as 16-bit FLAC."""
    soundfile.write(path, samples, RATE, format="FLAC", subtype="PCM_16")


def _trim(samples: Floats) -> Floats:
    """`(n,)` from `KEPT_S` before the first frame that is not quiet to as much after the last."""
    loud = np.flatnonzero(_is_loud(_frames(samples)))
    kept = round(KEPT_S * RATE)
    return samples[max(0, loud[0] * FRAME - kept) : (loud[-1] + 1) * FRAME + kept]


def _level(samples: Floats, level_db: float) -> Floats:
    """`(n,)` with its loud frames at `level_db`, or as near as `PEAK` allows."""
    frames = _frames(samples)
    gain = 10 ** (level_db / 20) / np.sqrt(np.mean(frames[_is_loud(frames)] ** 2))
    leveled: Floats = samples * np.float32(min(gain, PEAK / np.abs(samples).max()))
    return leveled


def _frames(samples: Floats) -> Floats:
    return np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)  # (frames, samples)


def _is_loud(frames: Floats) -> NDArray[np.bool_]:
    power = np.mean(frames**2, axis=1)
    loud: NDArray[np.bool_] = power > power.max() * 10 ** (QUIET_DB / 10)  # (frames,)
    return loud
