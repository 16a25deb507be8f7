"""The level: how loud a stream was, and what a broken microphone shows.

What is asked of each step is the least that tells it: highest, lowest and summed samples, of a whole batch at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 32767 / 32768  # the loudest that a 16-bit converter tells


class Level(msgspec.Struct, gc=False):
    """Of the samples (-1..1) since it was begun: the highest, the lowest, their sum and how many they are."""

    highest: float = -np.inf
    lowest: float = np.inf
    total: float = 0.0
    samples: int = 0

    def add(self, highest: float, lowest: float, total: float, samples: int) -> None:
        """Take in `samples` more of them."""
        if highest > self.highest:
            self.highest = highest
        if lowest < self.lowest:
            self.lowest = lowest
        self.total += total
        self.samples += samples

    @property
    def peak(self) -> float:
        """The loudest sample, 0..1."""
        return max(self.highest, -self.lowest, 0.0)

    @property
    def offset(self) -> float:
        """The mean: far from zero where a converter has an offset."""
        return self.total / self.samples if self.samples else 0.0

    @property
    def is_clipped(self) -> bool:
        """Did a sample touch full scale?"""
        return self.peak >= FULL_SCALE

    @property
    def is_flat(self) -> bool:
        """Was there nothing but one value? No microphone that is alive is so quiet."""
        return self.samples > 0 and self.highest == self.lowest


def levels(frames: NDArray[Any]) -> Iterator[tuple[float, float, float]]:
    """Highest, lowest and sum of each stream in `(streams, frames, hop_length)`."""
    flat = frames.reshape(len(frames), -1)
    parts = (np.maximum.reduce(flat, axis=1), np.minimum.reduce(flat, axis=1), np.add.reduce(flat, axis=1))
    return zip(*(part.tolist() for part in parts), strict=True)
