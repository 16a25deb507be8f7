"""What a detector hears in composed streams, held against what was spoken in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Card, Trigger
from otolith.inference.detector import Detector
from otolith.inference.events import Detection
from otolith_training.data.composer import Spoken

LATE_S = 0.5  # a detection this long after a word's end still is of that word


@dataclass(frozen=True, slots=True)
class Heard:
    """Words spoken, hit, and detections of nothing, over so many hours; lateness is from each word's end."""

    spoken: int
    hits: int
    false_alarms: int
    hours: float
    lateness_s: list[float]

    @property
    def f1(self) -> float:
        """Harmonic mean of hits among words and hits among detections."""
        total = self.spoken + self.hits + self.false_alarms
        return 2 * self.hits / total if total else 0.0

    @property
    def missed(self) -> float:
        """Share of the words that no detection hit."""
        return 1 - self.hits / self.spoken if self.spoken else 0.0

    @property
    def false_alarms_per_hour(self) -> float:
        """Detections of nothing, an hour."""
        return self.false_alarms / self.hours


def listen(
    posteriors: NDArray[np.float32], spoken: Sequence[Spoken], card: Card, triggers: Mapping[str, Trigger]
) -> Heard:
    """Run the daemon's detector over posteriors `(streams, frames, labels)` and match what it finds."""
    hits = false_alarms = 0
    lateness: list[float] = []
    streams, frames, _ = posteriors.shape
    length = frames * card.hop_length
    late = round(LATE_S * card.sample_rate)
    words = [word for word in spoken if card.labels[word.label] in triggers and word.end + late <= length]
    for stream in range(streams):
        waiting = [word for word in words if word.stream == stream]
        started = [d for d in Detector(card, triggers).push(posteriors[stream], 0) if d.phase == "start"]
        for detection in started:
            word = _match(detection, waiting, card, late)
            if word is None:
                false_alarms += detection.position <= length - late
            else:
                waiting.remove(word)
                hits += 1
                lateness.append((detection.position - word.end) / card.sample_rate)
    return Heard(len(words), hits, false_alarms, streams * length / card.sample_rate / 3600, lateness)


def _match(detection: Detection, waiting: Sequence[Spoken], card: Card, late: int) -> Spoken | None:
    for word in waiting:
        if card.labels[word.label] == detection.label and word.start <= detection.position <= word.end + late:
            return word
    return None
