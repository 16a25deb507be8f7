"""Stretches: a decision for every second (or so) of a signal, from posteriors whose state was carried all along."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from otolith_training.measure.decide import LEAST


def decide_stretches(posteriors: NDArray[np.float32], hop: int, length: int) -> list[int]:
    """The label index of each whole stretch of `length` samples, from a signal's posteriors `(frames, labels)`.

    The highest mean log posterior over the frames that end in it, as `decide_run` does. The last one may lack what
    filled no frame; a signal that is shorter than one stretch is decided all the same, as one.
    """
    told = np.log(np.maximum(posteriors, LEAST))
    stretch = ((np.arange(len(told)) + 1) * hop - 1) // length
    count = max(1, ((len(told) + 1) * hop - 1) // length)
    return [int(told[stretch == index].mean(axis=0).argmax()) for index in range(count)]
