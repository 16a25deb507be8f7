"""The sweep: what the daemon's detector would find at other thresholds, without running the model again.

Posteriors are smoothed once by the detector's own recurrence; then each trigger is decided over the few stretches that
rise above its release, not frame by frame. It finds exactly what `Detector` finds; a property test holds it to that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter  # type: ignore[import-untyped]

from otolith.inference.card import Card, Trigger
from otolith_training.measure.tracks import LATE_S, Track

Floats = NDArray[np.float32]
Positions = NDArray[np.int64]

LOWEST, HIGHEST = 0.02, 0.9999  # thresholds that a sweep reaches
GRID = 80


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What one trigger does on all tracks: a time for each event that it hit, and detections of nothing."""

    late_s: NDArray[np.float64]  # (events,): from the event's end to the detection; NaN where it was missed
    false_at: tuple[Positions, ...]  # a track: positions of detections of nothing

    @property
    def events(self) -> int:
        """Events there were."""
        return len(self.late_s)

    @property
    def hits(self) -> int:
        """Events that were detected."""
        return int(np.isfinite(self.late_s).sum())

    @property
    def false_alarms(self) -> int:
        """Detections of nothing."""
        return sum(len(positions) for positions in self.false_at)


class Smoothed:
    """One label's posteriors on all tracks, smoothed, of which only what a sweep can reach is kept."""

    def __init__(self, tracks: Sequence[Track], card: Card, label: str, smoothing_s: float, lowest: float) -> None:
        self._card = card
        self._column = card.labels.index(label)
        self._late = round(LATE_S * card.sample_rate)
        self._frames: list[Positions] = []  # a track: frames at or over `lowest`
        self._values: list[Floats] = []  # ... and the smoothed posteriors there
        for track in tracks:
            values = smooth(track.posteriors[:, self._column], smoothing_s, card.frame_rate)
            frames = np.flatnonzero(values >= np.float32(lowest))
            self._frames.append(frames)
            self._values.append(values[frames])
        self._events = [_events(track, label) for track in tracks]

    def find(self, threshold: float, release: float, refractory_s: float) -> Found:
        """What a trigger with this smoothing finds."""
        rest = round(refractory_s * self._card.sample_rate)
        late_s: list[NDArray[np.float64]] = []
        false_at = []
        for frames, values, events in zip(self._frames, self._values, self._events, strict=True):
            starts = find_starts(frames, values, threshold, release, rest, self._card.hop_length)
            hit_at, false = match(starts, events, self._late)
            late_s.append((hit_at - events[:, 1]) / self._card.sample_rate)
            false_at.append(false)
        return Found(np.concatenate(late_s) if late_s else np.zeros(0), tuple(false_at))

    def starts(self, trigger: Trigger) -> list[Positions]:
        """Where the trigger's detections start, a track."""
        rest = round(trigger.refractory_s * self._card.sample_rate)
        return [
            find_starts(frames, values, trigger.threshold, trigger.release, rest, self._card.hop_length)
            for frames, values in zip(self._frames, self._values, strict=True)
        ]


def smooth(posteriors: Floats, smoothing_s: float, frame_rate: float) -> Floats:
    """One label's posteriors `(frames,)` through the detector's low-pass, in its own precision."""
    decay = np.float32(math.exp(-1 / (smoothing_s * frame_rate)) if smoothing_s > 0 else 0.0)
    gain = np.float32(1) - decay
    smoothed = lfilter(np.array([gain]), np.array([1, -decay], np.float32), np.ascontiguousarray(posteriors))
    return np.asarray(smoothed, np.float32)


def find_starts(
    frames: Positions, values: Floats, threshold: float, release: float, rest: int, hop_length: int
) -> Positions:
    """Where detections start, in samples: `values` are smoothed posteriors at `frames`, all others lie below `release`.

    A detection starts at the first frame that reaches `threshold` once the rest is over, and ends with the first that
    falls below `release`.
    """
    over = frames[values >= np.float32(threshold)]
    if not len(over):
        return np.zeros(0, np.int64)
    above = frames[values >= np.float32(release)]
    last = above[np.append(np.diff(above) > 1, True)]  # frames before a fall below the release
    found = []
    at = 0
    while at < len(over):
        start = int(over[at])
        found.append(start)
        end = int(last[np.searchsorted(last, start)]) + 1  # the detection ends with this frame
        at = int(np.searchsorted(over, end + -(-rest // hop_length)))
    return (np.array(found, np.int64) + 1) * hop_length


def match(starts: Positions, events: Positions, late: int) -> tuple[NDArray[np.float64], Positions]:
    """Detections `(n,)` held against events `(events, 2)` of their label, both in order: the position of each event's
    hit (NaN: missed), and the detections that hit none. An event takes one detection, its first."""
    hit_at = np.full(len(events), np.nan)
    false = []
    first = 0
    for position in starts.tolist():
        while first < len(events) and events[first, 1] + late < position:
            first += 1
        index = first
        while index < len(events) and events[index, 0] <= position:
            if np.isnan(hit_at[index]) and position <= events[index, 1] + late:
                hit_at[index] = position
                break
            index += 1
        else:
            false.append(position)
    return hit_at, np.array(false, np.int64)


def shifts(triggers: Mapping[str, Trigger]) -> NDArray[np.float64]:
    """How far thresholds are moved in a sweep, in logits and rising: to nearly always, by 0 (the card's own), to
    nearly never."""
    own = [_logit(trigger.threshold) for trigger in triggers.values()]
    reach = np.linspace(_logit(LOWEST) - max(own), _logit(HIGHEST) - min(own), GRID)
    return np.unique(np.append(reach, 0.0))


def moved(trigger: Trigger, shift: float) -> Trigger:
    """The trigger with its threshold moved by `shift` logits, and its release in proportion."""
    if shift == 0:
        return trigger
    threshold = 1 / (1 + math.exp(-(_logit(trigger.threshold) + shift)))
    release = trigger.release * threshold / trigger.threshold
    return Trigger(threshold, release, trigger.smoothing_s, trigger.refractory_s)


def sweep(tracks: Sequence[Track], card: Card, triggers: Mapping[str, Trigger]) -> dict[str, list[Found]]:
    """By label, what each of `shifts(triggers)` finds."""
    found = {}
    for label, trigger in triggers.items():
        at = [moved(trigger, shift) for shift in shifts(triggers).tolist()]
        smoothed = Smoothed(tracks, card, label, trigger.smoothing_s, min(t.release for t in at))
        found[label] = [smoothed.find(t.threshold, t.release, t.refractory_s) for t in at]
    return found


def find_all(tracks: Sequence[Track], card: Card, triggers: Mapping[str, Trigger]) -> dict[str, Found]:
    """By label, what the triggers find as they are."""
    return {
        label: Smoothed(tracks, card, label, t.smoothing_s, t.release).find(t.threshold, t.release, t.refractory_s)
        for label, t in triggers.items()
    }


def _events(track: Track, label: str) -> Positions:
    found = sorted((event.start, event.end) for event in track.events if event.label == label)
    return np.array(found, np.int64).reshape(-1, 2)


def _logit(share: float) -> float:
    share = min(max(share, 1e-4), 1 - 1e-6)
    return math.log(share / (1 - share))
