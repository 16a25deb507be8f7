"""What streams are composed of: words, found in their clips, and other sounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """A clip's samples, where the word stands in them, and its label's index."""

    samples: Floats  # (n,)
    start: int
    end: int
    label: int


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What streams are composed of, all at one sample rate."""

    words: Sequence[Sequence[Word]]  # by label; none for the background
    noise: Sequence[Floats]
    speech: Sequence[Floats]


def turned(word: Word) -> Word:
    """The word backwards: sounds of speech in the same voice, and none of the words."""
    length = len(word.samples)
    return Word(np.ascontiguousarray(word.samples[::-1]), length - word.end, length - word.start, word.label)


def find_word(samples: Floats, rate: int) -> tuple[int, int]:
    """Where the word in a clip starts and ends, by energy in steps of 10 ms: the stretch around the loudest moment.

    It reaches to where the smoothed energy stays 28 dB below the loudest, or near the clip's quietest tenth.
    """
    step = max(1, rate // 100)
    count = len(samples) // step
    if count < 5:
        return 0, len(samples)
    energy = np.square(samples[: count * step].reshape(count, step)).mean(axis=1) + 1e-12
    smooth = 10 * np.log10(np.convolve(energy, np.ones(5) / 5, mode="same"))
    peak, floor = float(smooth.max()), float(np.quantile(smooth, 0.1))
    limit = max(peak - 28, min(floor + 6, peak - 6))  # the f of off is 25 dB below its vowel
    loud = smooth > limit
    first = last = int(smooth.argmax())
    patience = 12  # a stop consonant is silent for a tenth of a second within its word
    while first > 0 and loud[max(0, first - patience) : first].any():
        first -= 1
    while last < count - 1 and loud[last + 1 : last + 1 + patience].any():
        last += 1
    return first * step, (last + 1) * step
