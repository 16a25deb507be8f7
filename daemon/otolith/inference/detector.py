"""Detection: posteriors become labels that start and end.

Each label's posterior is smoothed by a one-pole low-pass (time constant `smoothing_s`), and a Schmitt trigger decides:
a label starts when the smoothed value reaches `threshold`, ends when it falls below `release`, and then rests for
`refractory_s`. Two thresholds and the rest keep one word from firing again and again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Card, Trigger
from otolith.inference.events import Detection
from otolith.inference.memory import Mark


class Detector:
    """One stream's decisions. Only labels with a trigger can be detected; `first_id` numbers the first detection."""

    def __init__(self, card: Card, triggers: Mapping[str, Trigger], first_id: int = 0) -> None:
        self.triggers = dict(triggers)
        self._hop_length = card.hop_length
        self._labels = [label for label in card.judged if label in triggers]
        self.columns = [card.judged.index(label) for label in self._labels]
        chosen = [triggers[label] for label in self._labels]
        self.threshold = np.array([t.threshold for t in chosen], np.float32)
        self.release = np.array([t.release for t in chosen], np.float32)
        self.decay = np.array(
            [math.exp(-1 / (t.smoothing_s * card.frame_rate)) if t.smoothing_s > 0 else 0.0 for t in chosen],
            np.float32,
        )
        # a decision looks at a handful of numbers: plain floats are ten times faster there than arrays
        self._threshold: list[float] = self.threshold.tolist()
        self._release: list[float] = self.release.tolist()
        self._rest = [round(t.refractory_s * card.sample_rate) for t in chosen]
        self._lowest_release = min(self._release, default=1.0)
        self.next_id = first_id
        self.forget()

    def forget(self) -> None:
        """Start afresh: nothing smoothed, nothing active. Numbers of detections go on."""
        count = len(self._labels)
        self._smoothed = np.zeros(count, np.float32)
        self.above = [False] * count  # at or over the release threshold
        self._onset = [0] * count
        self._rests_until = [0] * count
        self._active: dict[int, tuple[int, float]] = {}  # label -> (id, highest smoothed value)

    def push(self, posteriors: NDArray[np.float32], position: int) -> list[Detection]:
        """What starts or ends within `posteriors` `(frames, labels)`, the first of which begins at `position`."""
        gain = 1 - self.decay
        smoothed = posteriors[:, self.columns]
        for row in smoothed:
            self._smoothed *= self.decay
            self._smoothed += gain * row
            row[:] = self._smoothed
        return self.decide(smoothed, position)

    def decide(self, smoothed: NDArray[np.float32], position: int) -> list[Detection]:
        """As `push`, of values `(frames, columns)` that are smoothed already."""
        detections: list[Detection] = []
        for row in smoothed.tolist():
            frame_start, position = position, position + self._hop_length
            if True in self.above or max(row, default=0.0) >= self._lowest_release:
                detections += self._decide(row, frame_start, position)
        return detections

    def raise_peaks(self, smoothed: list[float]) -> None:
        """What active labels reached, a value a column, in frames that changed nothing else and were not decided."""
        for index, (number, peak) in self._active.items():
            self._active[index] = number, max(peak, smoothed[index])

    def remember(self) -> dict[str, Mark]:
        """Where labels stand of which anything is known; what is smoothed belongs to whoever smooths."""
        known: dict[str, Mark] = {}
        if True in self.above or any(self._rests_until):  # of most streams nothing is, and many are asked
            for index, label in enumerate(self._labels):
                at = self.above[index], self._onset[index], self._rests_until[index]
                if at[0] or at[2]:
                    known[label] = Mark(*at, *self._active.get(index, (-1, 0.0)))
        return known

    def recall(self, labels: Mapping[str, Mark], next_id: int) -> None:
        """Go on where another one stood; a label that has no trigger any more is forgotten."""
        self.forget()
        self.next_id = next_id
        for index, label in enumerate(self._labels):
            if (known := labels.get(label)) is not None:
                self.above[index], self._onset[index] = known.above, known.onset
                self._rests_until[index] = known.rests_until
                if known.id >= 0:
                    self._active[index] = known.id, known.peak

    @property
    def smoothed(self) -> NDArray[np.float32]:
        """The smoothed values, one a column, of a detector that smooths for itself."""
        return self._smoothed

    @property
    def active(self) -> list[bool]:
        """Which labels have started and not ended, a value a column."""
        return [index in self._active for index in range(len(self._labels))]

    def close(self, position: int) -> list[Detection]:
        """End whatever is active: the stream stops or starts afresh at `position`."""
        return [self._end(index, position) for index in list(self._active)]

    def _decide(self, smoothed: list[float], frame_start: int, frame_end: int) -> list[Detection]:
        detections = [
            self._end(index, frame_end) for index in list(self._active) if smoothed[index] < self._release[index]
        ]
        for index, value in enumerate(smoothed):
            was_above, self.above[index] = self.above[index], value >= self._release[index]
            if self.above[index] and not was_above:
                self._onset[index] = frame_start
            if value >= self._threshold[index]:
                if index in self._active:
                    number, peak = self._active[index]
                    self._active[index] = number, max(peak, value)
                elif frame_end >= self._rests_until[index]:
                    detections.append(self._start(index, frame_end, value))
        return detections

    def _start(self, index: int, position: int, value: float) -> Detection:
        number, self.next_id = self.next_id, self.next_id + 1
        self._active[index] = number, value
        return Detection(position, number, self._labels[index], "start", value, self._onset[index])

    def _end(self, index: int, position: int) -> Detection:
        number, peak = self._active.pop(index)
        self._rests_until[index] = position + self._rest[index]
        return Detection(position, number, self._labels[index], "end", peak, self._onset[index])
