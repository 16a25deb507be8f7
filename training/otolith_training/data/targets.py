"""Targets: the set of labels that each frame may be called, for a loss that knows when a word can be known.

The loss of a frame is `-log` of the summed posteriors of its set (learning from partial labels; Cour, Sapp and Taskar,
"Learning from Partial Labels", JMLR 2011). A frame whose set is everything is not counted: that is what padding is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Sets = NDArray[np.bool_]


class Targets:
    """Writes sets into `(frames, labels)`; labels are indices of the model's."""

    def __init__(self, count: int, background: int, unknown: int | None) -> None:
        self.count = count
        self.background = background
        self.unknown = unknown

    def quiet(self, *, speech: bool) -> Sets:
        """What a frame without a word may be called `(labels,)`; over speech, unknown is as right as background."""
        allowed = np.zeros(self.count, bool)
        allowed[self.background] = True
        if speech and self.unknown is not None:
            allowed[self.unknown] = True
        return allowed

    def mark_speech(self, allowed: Sets, first: int, end: int) -> None:
        """From frame `first` until `end` there is speech that is none of the words."""
        if self.unknown is not None:
            allowed[first:end, self.unknown] = True

    def mark_word(self, allowed: Sets, label: int, start: int, known: int, told: int, end: int) -> None:
        """A word begins at frame `start`, must be known from `known` until `told`, and may linger until `end`."""
        known, told = max(known, start), max(told, known + 1)
        allowed[start:known, [label, self.background]] = True
        allowed[known:told] = False
        allowed[known:told, label] = True
        allowed[told:end, [label, self.background]] = True
