"""The proof: an input that any language can make again, and what a model must answer to it.

The input is a counter hashed by "lowbias32" (C. Wellons, "Prospecting for Hash Functions", 2018): value `i` of seed
`s` is `lowbias32(s + i) / 2**31 - 1`, a float32 in -1..1, times the card's `scale`. A random generator of numpy's or
torch's would tie the file to their releases.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-4


def proof_input(seed: int, scale: float, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Values in `-scale..scale`, counted in C order over `shape`."""
    count = int(np.prod(shape))
    x = np.arange(count, dtype=np.uint32) + np.uint32(seed & 0xFFFFFFFF)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    unit = x.astype(np.float64) / 2**31 - 1
    return (unit * scale).astype(np.float32).reshape(shape)
