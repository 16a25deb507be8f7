"""Framing: blocks of any length become whole frames; what is left over waits for the next block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Card

Samples = NDArray[np.float32] | NDArray[np.int16]

INT16_SCALE = np.float32(1 / 32768)


class Framer:
    """Cuts one stream of samples `(n,)` into hops, or passes rows `(n, channels)` on as they are."""

    def __init__(self, card: Card) -> None:
        self._audio = card.kind == "audio"
        self._hop_length = card.hop_length
        self._carry: NDArray[np.float32] = np.empty(0, np.float32)

    @property
    def waiting(self) -> int:
        """Samples taken in that do not fill a frame yet."""
        return len(self._carry)

    def push(self, samples: Samples) -> NDArray[np.float32]:
        """Whole frames `(frames, hop_length)` or `(frames, channels)`; int16 samples are scaled to -1..1."""
        if samples.dtype == np.int16:
            floats = np.multiply(samples, INT16_SCALE, dtype=np.float32)
        else:
            floats = np.ascontiguousarray(samples, np.float32)
        if not self._audio:
            return floats
        if len(self._carry):
            floats = np.concatenate((self._carry, floats))
        whole = len(floats) // self._hop_length * self._hop_length
        self._carry = floats[whole:].copy()
        return floats[:whole].reshape(-1, self._hop_length)
