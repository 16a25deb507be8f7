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
    """A row a stream; each row has its own triggers.

    A label's fences are where it must be looked at: below its release it waits to rise to it; above, for its threshold
    or to fall again; once active, to fall. Between its fences nothing changes but its peak.
    """

    def __init__(self, labels: int) -> None:
        self._smoothed: Floats = np.zeros((0, labels), np.float32)
        self._decay, self._gain, self._threshold, self._release = (self._smoothed.copy() for _ in range(4))
        self._below = self._smoothed.copy()  # nothing happens while a smoothed value stays below this ...
        self._from = self._smoothed.copy()  # ... and at this or over it
        self._peak = self._smoothed.copy()  # highest smoothed value since the row's detector was asked
        self._smooths = False  # whether any trigger ever asked for it; scores of anomalies come smoothed
        self._has_active = np.zeros(0, bool)
        self._active = 0  # how many rows have an active label

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        for name, array in list(vars(self).items()):
            if isinstance(array, np.ndarray):
                setattr(self, name, grown(array, capacity))

    def begin(self, row: int, detector: Detector) -> None:
        """Row `row` starts afresh, with the triggers of `detector`."""
        for array in (self._smoothed, self._decay, self._peak):
            array[row] = 0
        self._threshold[row] = self._release[row] = NEVER
        self._decay[row, detector.columns] = detector.decay
        self._smooths |= bool(np.any(detector.decay))
        self._gain[row] = 1 - self._decay[row]
        self._threshold[row, detector.columns] = detector.threshold
        self._release[row, detector.columns] = detector.release
        self._fence(row, detector)

    def remember(self, rows: NDArray[np.intp]) -> dict[str, Floats]:
        """What is smoothed in `rows`, and the peaks that their detectors were not told."""
        return {"smoothed": self._smoothed[rows], "peak": self._peak[rows]}

    def recall(self, row: int, detector: Detector, smoothed: Floats, peak: Floats) -> None:
        """Row `row` goes on where another stood; its `detector` has been told already."""
        self._smoothed[row] = smoothed
        detector.raise_peaks(peak[detector.columns].tolist())
        self._fence(row, detector)

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
        crossing = smoothed >= self._below[rows]
        crossing |= smoothed < self._from[rows]
        asked = {}
        found: dict[int, list[Detection]] = {}
        if np.count_nonzero(crossing):  # the cheapest way to ask for any
            asked = {place: _row(rows, place) for place in np.flatnonzero(crossing.any(axis=(0, 2))).tolist()}
        for place, row in asked.items():
            detector = detectors[place]
            self.settle(row, detector)
            if detections := detector.decide(smoothed[:, place, detector.columns], positions[place]):
                found[place] = detections
            self._fence(row, detector)
        if self._active:
            self._peak[rows] = np.maximum(self._peak[rows], np.maximum.reduce(smoothed))
        for row in asked.values():
            self._peak[row] = 0
        return found

    def _fence(self, row: int, detector: Detector) -> None:
        """Put the row's fences where its labels now stand."""
        above, active = np.zeros((2, self._below.shape[1]), bool)
        above[detector.columns], active[detector.columns] = detector.above, detector.active
        self._from[row] = np.where(above, self._release[row], -NEVER)
        self._below[row] = np.where(active, NEVER, np.where(above, self._threshold[row], self._release[row]))
        self._active += int(active.any()) - int(self._has_active[row])
        self._has_active[row] = active.any()

    def _smooth(self, rows: Rows, posteriors: Floats) -> Floats:
        """The one-pole low-pass of `Detector`, in the same order of operations: equal to the last bit.

        Returns `(frames, streams, labels)`: what is done a frame at a time lies together.
        """
        if not self._smooths:
            return posteriors.swapaxes(0, 1)
        decay, last = self._decay[rows], self._smoothed[rows]
        smoothed: Floats = np.multiply(posteriors.swapaxes(0, 1), self._gain[rows], order="C")
        for now in smoothed:
            now += last * decay
            last = now
        self._smoothed[rows] = last
        return smoothed


def _row(rows: Rows, place: int) -> int:
    return int(rows.start) + place if isinstance(rows, slice) else int(rows[place])
