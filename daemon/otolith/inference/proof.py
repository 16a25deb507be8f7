"""The proof: an input that any language can make again, and what a model must answer to it.

The input is a counter hashed by "lowbias32" (C. Wellons, "Prospecting for Hash Functions", 2018): value `i` of seed
`s` is `lowbias32(s + i) / 2**31 - 1`, a float32 in -1..1, times the card's `scale`; a token is the hash itself, modulo
the size of the vocabulary. A random generator of numpy's or torch's would tie the file to their releases.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Card, Tokens

TOLERANCE = 1e-4


def proof_frames(card: Card, seed: int, scale: float, count: int) -> NDArray[np.float32] | NDArray[np.int64]:
    """`count` frames of one stream, `(1, count, ...)`; of a token model, ids of its vocabulary."""
    shape = (1, count, *card.frame_shape)
    if isinstance(card.tokens, Tokens):
        return (_hashes(seed, shape) % len(card.tokens.vocabulary)).astype(np.int64)
    return proof_input(seed, scale, shape)


def proof_input(seed: int, scale: float, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Values in `-scale..scale`, counted in C order over `shape`."""
    unit = _hashes(seed, shape).astype(np.float64) / 2**31 - 1
    return (unit * scale).astype(np.float32)


def _hashes(seed: int, shape: tuple[int, ...]) -> NDArray[np.uint32]:
    count = int(np.prod(shape))
    x = np.arange(count, dtype=np.uint32) + np.uint32(seed & 0xFFFFFFFF)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x.reshape(shape)
