"""Many streams' detectors: smoothed as rows of one array, decided one by one only where something may start or end.

Nearly all frames of nearly all streams change nothing: no label is up, or the same ones stay up. What they cost is a
few operations on whole arrays; a stream's own `Detector` is asked only when a label may start or end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from otolith.inference.detector import Detector
from otolith.inference.events import Detection
from otolith.inference.rows import Rows, grown

Floats = NDArray[np.float32]

NEVER = np.float32(np.inf)


class Detectors:
    """A row a stream; each row has its own triggers."""

    def __init__(self, labels: int) -> None:
        self._smoothed: Floats = np.zeros((0, labels), np.float32)
        self._decay, self._gain, self._threshold, self._release = (self._smoothed.copy() for _ in range(4))
        self._heed = self._smoothed.copy()  # what a smoothed value must reach to be looked at: 0 for labels that are up
        self._peak = self._smoothed.copy()  # highest smoothed value since the row's detector was asked
        self._above = np.zeros((0, labels), bool)
        self._active = np.zeros((0, labels), bool)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        for name, array in list(vars(self).items()):
            setattr(self, name, grown(array, capacity))

    def begin(self, row: int, detector: Detector) -> None:
        """Row `row` starts afresh, with the triggers of `detector`."""
        for array in (self._smoothed, self._decay, self._peak, self._above, self._active):
            array[row] = 0
        self._threshold[row] = self._release[row] = NEVER
        self._decay[row, detector.columns] = detector.decay
        self._gain[row] = 1 - self._decay[row]
        self._threshold[row, detector.columns] = detector.threshold
        self._release[row, detector.columns] = detector.release
        self._heed[row] = self._release[row]

    def settle(self, row: int, detector: Detector) -> None:
        """Tell `detector` what it was not asked about, before it is closed."""
        detector.raise_peaks(self._peak[row, detector.columns].tolist())

    def push(
        self, rows: Rows, detectors: list[Detector], posteriors: Floats, positions: list[int]
    ) -> dict[int, list[Detection]]:
        """What starts or ends, by place in the batch: as each of `detectors` would say of its own posteriors.

        `posteriors` is `(streams, frames, labels)`; the first frame of each stream begins at its entry of `positions`.
        """
        smoothed = self._smooth(rows, posteriors)  # (frames, streams, labels)
        highest = np.maximum.reduce(smoothed)
        if not np.logical_or.reduce(highest >= self._heed[rows], axis=None):
            return {}
        release, above, active, peak = self._release[rows], self._above[rows], self._active[rows], self._peak[rows]
        crosses = np.where(above, np.minimum.reduce(smoothed) < release, highest >= release)
        turning = (crosses | ((highest >= self._threshold[rows]) & ~active)).any(axis=1)
        found = {}
        raised = np.maximum(peak, highest)
        for place in turning.nonzero()[0].tolist():
            detector = detectors[place]
            columns = detector.columns
            detector.raise_peaks(peak[place, columns].tolist())
            if detections := detector.decide(smoothed[:, place, columns], positions[place]):
                found[place] = detections
            above[place, columns], active[place, columns] = detector.above, detector.active
            raised[place] = 0
        self._above[rows], self._active[rows], self._peak[rows] = above, active, raised
        self._heed[rows] = np.where(above, 0, release)
        return found

    def _smooth(self, rows: Rows, posteriors: Floats) -> Floats:
        """The one-pole low-pass of `Detector`, in the same order of operations: equal to the last bit.

        Returns `(frames, streams, labels)`: what is done a frame at a time lies together.
        """
        decay, last = self._decay[rows], self._smoothed[rows]
        smoothed: Floats = np.multiply(posteriors.swapaxes(0, 1), self._gain[rows], order="C")
        for now in smoothed:
            now += last * decay
            last = now
        self._smoothed[rows] = last
        return smoothed
