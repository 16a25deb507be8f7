"""Many streams' detectors: smoothed as rows of one array, decided one by one only where something may start or end.

Nearly all frames of nearly all streams hold nothing. What they cost is five operations on whole arrays; a stream's own
`Detector` is asked only when a label reaches its release threshold, or was over it before.
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
        self._decay: Floats = np.zeros((0, labels), np.float32)
        self._release: Floats = np.zeros((0, labels), np.float32)
        self._alert = np.zeros(0, bool)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._smoothed = grown(self._smoothed, capacity)
        self._decay = grown(self._decay, capacity)
        self._release = grown(self._release, capacity)
        self._alert = grown(self._alert, capacity)

    def begin(self, row: int, detector: Detector) -> None:
        """Row `row` starts afresh, with the triggers of `detector`."""
        self._smoothed[row] = 0
        self._decay[row] = 0
        self._decay[row, detector.columns] = detector.decay
        self._release[row] = NEVER
        self._release[row, detector.columns] = detector.release
        self._alert[row] = False

    def push(
        self, rows: Rows, detectors: list[Detector], posteriors: Floats, positions: list[int]
    ) -> dict[int, list[Detection]]:
        """What starts or ends, by place in the batch: as each of `detectors` would say of its own posteriors.

        `posteriors` is `(streams, frames, labels)`; the first frame of each stream begins at its entry of `positions`.
        """
        smoothed = self._smooth(rows, posteriors)  # (streams, frames, labels)
        alert = self._alert[rows]
        loud = (smoothed.max(axis=1) >= self._release[rows]).any(axis=1) | alert
        if not loud.any():
            return {}
        found = {}
        for place in loud.nonzero()[0].tolist():
            detector = detectors[place]
            if detections := detector.decide(smoothed[place][:, detector.columns], positions[place]):
                found[place] = detections
            alert[place] = detector.is_alert
        self._alert[rows] = alert
        return found

    def _smooth(self, rows: Rows, posteriors: Floats) -> Floats:
        """The one-pole low-pass of `Detector`, in the same order of operations: equal to the last bit."""
        decay, last = self._decay[rows], self._smoothed[rows]
        smoothed = (1 - decay)[:, None] * posteriors
        for frame in range(posteriors.shape[1]):
            last = last * decay
            last += smoothed[:, frame]
            smoothed[:, frame] = last
        self._smoothed[rows] = last
        return smoothed
