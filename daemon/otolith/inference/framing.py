"""Framing: blocks of any length become whole frames; what is left over waits for the next block.

A `Framer` makes frames as blocks come; a `Backlog` keeps blocks as they are until their step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Card, Tokens

Samples = NDArray[np.float32] | NDArray[np.int16] | NDArray[np.int64]  # the last: token ids
Frames = NDArray[np.float32] | NDArray[np.int64]

NOT_FINITE = "not a number"
NO_SUCH_ID = "not a token of the model's"

INT16 = np.dtype(np.int16)
INT16_SCALE = np.float32(1 / 32768)


def fault_of(samples: Samples, vocabulary: int) -> str:
    """Why a block would do harm, or nothing; `vocabulary` is how many tokens there are, 0 for sound and rows.

    A NaN would poison a state for good, and a token beyond the vocabulary end the runtime's call.
    """
    if vocabulary:
        return "" if not len(samples) or 0 <= samples.min() <= samples.max() < vocabulary else NO_SUCH_ID
    return "" if np.isfinite(samples).all() else NOT_FINITE


def size_of_vocabulary(card: Card) -> int:
    """How many tokens a model knows; 0 where it takes sound or rows."""
    return len(card.tokens.vocabulary) if isinstance(card.tokens, Tokens) else 0


def to_floats(samples: Samples) -> NDArray[np.float32]:
    """Samples in -1..1, or rows as they are."""
    if samples.dtype == INT16:
        return np.multiply(samples, INT16_SCALE, dtype=np.float32)
    return np.ascontiguousarray(samples, np.float32)


class Framer:
    """Cuts one stream of samples `(n,)` into hops, or passes rows `(n, channels)` and tokens `(n,)` on as they are."""

    def __init__(self, card: Card) -> None:
        self._audio, self._tokens = card.kind == "audio", card.kind == "token"
        self._hop_length = card.hop_length
        self._carry: NDArray[np.float32] = np.empty(0, np.float32)

    @property
    def waiting(self) -> int:
        """Samples taken in that do not fill a frame yet."""
        return len(self._carry)

    @property
    def carry(self) -> NDArray[np.float32]:
        """Those samples; to be read, not written."""
        return self._carry

    def push(self, samples: Samples) -> Frames:
        """Whole frames `(frames, hop_length)`, `(frames, channels)` or `(frames,)`; int16 is scaled to -1..1."""
        if self._tokens:
            return np.ascontiguousarray(samples, np.int64)
        floats = to_floats(samples)
        if not self._audio:
            return floats
        if len(self._carry):
            floats = np.concatenate((self._carry, floats))
        whole = len(floats) // self._hop_length * self._hop_length
        self._carry = floats[whole:].copy()
        return floats[:whole].reshape(-1, self._hop_length)


class Backlog:
    """One stream's samples (rows, tokens) that wait for their step, in the blocks they came in.

    Blocks are kept, not copied: whoever pushed one leaves it alone. `samples` is how many wait.
    """

    __slots__ = ("_blocks", "_hop_length", "samples")

    def __init__(self, card: Card) -> None:
        self._hop_length = card.hop_length
        self._blocks: list[Samples] = []
        self.samples = 0

    @property
    def frames(self) -> int:
        """Whole frames that wait."""
        return self.samples // self._hop_length

    @property
    def blocks(self) -> tuple[Samples, ...]:
        """What waits, the oldest first."""
        return tuple(self._blocks)

    def push(self, samples: Samples) -> int:
        """Keep a block; how many samples now wait."""
        if length := len(samples):
            self._blocks.append(samples)
            self.samples += length
        return self.samples

    def take(self, frames: int) -> list[Samples]:
        """The oldest `frames` frames, in pieces that follow one another; at most as many as wait."""
        wanted = frames * self._hop_length
        blocks = self._blocks
        if self.samples == wanted:  # the usual case: a source whose blocks are whole frames
            self.samples, self._blocks = 0, []
            return blocks
        self.samples -= wanted
        pieces: list[Samples] = []
        while wanted:
            block = blocks[0]
            pieces.append(block[:wanted])
            if len(block) <= wanted:
                del blocks[0]
            else:
                rest = block[wanted:]
                # a view would keep the whole block for the sake of less than a frame
                blocks[0] = rest.copy() if len(rest) < self._hop_length else rest
            wanted -= len(pieces[-1])
        return pieces

    def clear(self) -> int:
        """Throw away what waits; how many samples that was."""
        lost, self.samples = self.samples, 0
        self._blocks = []
        return lost
