"""One label for a whole clip or run, from the posteriors of its frames: fixed rules, chosen on development splits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SMOOTHING_S = 0.1
TAIL_S = 0.3  # of silence behind a clip: a word at its very end must have time to be told
LEAST = 1e-6  # a posterior no lower than this: one row that is sure of itself does not outvote all others
NOTHING = 0.2  # a clip in which nothing rises to this is background


def decide(posteriors: NDArray[np.float32], labels: Sequence[str], background: str | None, frame_rate: float) -> int:
    """The index of the label whose smoothed posterior peaks highest; background only if nothing else rises.

    Posteriors `(frames, labels)` are smoothed as the daemon's `Detector` does it, by a one-pole low-pass of 0.1 s.
    """
    decay = math.exp(-1 / (SMOOTHING_S * frame_rate))
    smoothed = np.zeros(posteriors.shape[1], np.float64)
    peak = np.zeros_like(smoothed)
    for row in posteriors:
        smoothed += (1 - decay) * (row - smoothed)
        np.maximum(peak, smoothed, out=peak)
    if background is None:
        return int(peak.argmax())
    silent = labels.index(background)
    peak[silent] = NOTHING
    return int(peak.argmax())


def decide_run(posteriors: NDArray[np.float32]) -> int:
    """The index of the label that a run of one activity is, from its rows `(rows, labels)`.

    The highest mean log posterior over the second half: the first half is spent finding out.
    """
    told = posteriors[len(posteriors) // 2 :]
    return int(np.log(np.maximum(told, LEAST)).mean(axis=0).argmax())
