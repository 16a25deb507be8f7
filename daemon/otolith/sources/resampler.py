"""Resampling: blocks at a source's rate become blocks at the model's, with soxr's streaming resampler.

The samples are the same whatever the cutting. The filter holds some back; the capture time of what comes out is
counted from what has come out, not from what went in.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import soxr
from numpy.typing import NDArray

from otolith.inference.framing import INT16_SCALE, Samples

REMEMBERED_S = 0.25  # beyond what the filter reaches back (under 0.05 s at the usual rates), and what it holds back
LONGEST_CYCLE = 4096  # source samples: of rates with a longer one, a resumed filter is off by less than a sample


class Resampler:
    """One stream's filter memory. Make a new one behind a gap.

    soxr does not tell what its filter holds, so the source's last samples are remembered: fed to a new filter from a
    sample on that both rates have in common, it goes on as the old one would have (to 4e-7).
    """

    def __init__(self, source_rate: float, model_rate: float) -> None:
        self._stream = soxr.ResampleStream(source_rate, model_rate, 1, dtype="float32", quality="HQ")
        self._source_rate, self._model_rate = source_rate, model_rate
        self._taken = 0
        self._given = 0
        cycle = round(source_rate) // math.gcd(round(source_rate), round(model_rate))
        self._cycle = cycle if cycle <= LONGEST_CYCLE else 1
        self._recent: deque[Samples] = deque()
        self._recent_samples = 0
        self._remembered = round(REMEMBERED_S * source_rate) + self._cycle
        self._early = np.empty(0, np.float32)  # given by the filter before it is due
        self._skipped = 0  # samples still to come that were given in an earlier life

    def remember(self) -> tuple[int, int, list[Samples]]:
        """How many samples were taken and given, and the last that were taken; in the blocks they came in."""
        return self._taken, self._given, [*self._recent]

    def recall(self, taken: int, given: int, recent: list[Samples]) -> None:
        """Go on where another one of the same rates stood."""
        samples = np.concatenate([np.empty(0, np.float32), *map(_floats, recent)])
        first = -(-(taken - len(samples)) // self._cycle) * self._cycle  # the next one that both rates have
        offset = round(first * self._model_rate / self._source_rate)
        samples = samples[first - (taken - len(samples)) :]
        filtered = self._stream.resample_chunk(samples)
        self._early, self._skipped = filtered[max(0, given - offset) :], max(0, given - offset - len(filtered))
        self._taken, self._given = taken, given
        self._keep(samples)

    def _keep(self, samples: Samples) -> None:
        if len(samples):
            self._recent.append(samples)
            self._recent_samples += len(samples)
        while self._recent and self._recent_samples - len(self._recent[0]) >= self._remembered:
            self._recent_samples -= len(self._recent.popleft())

    @property
    def delay_s(self) -> float:
        """How far the last sample given lies behind the last one taken."""
        return self._taken / self._source_rate - self._given / self._model_rate

    def push(self, samples: Samples, last: bool = False) -> Samples:
        """What can be said of `samples` `(n,)` so far; with `last`, all the rest too."""
        self._keep(samples)
        self._taken += len(samples)
        resampled: NDArray[np.float32] = self._stream.resample_chunk(_floats(samples), last=last)
        if self._skipped or len(self._early):
            told = min(self._skipped, len(resampled))
            resampled = np.concatenate((self._early, resampled[told:]))
            self._skipped, self._early = self._skipped - told, self._early[:0]
        self._given += len(resampled)
        return resampled


def _floats(samples: Samples) -> NDArray[np.float32]:
    if samples.dtype == np.int16:
        return np.multiply(samples, INT16_SCALE, dtype=np.float32)
    return np.ascontiguousarray(samples, np.float32)
