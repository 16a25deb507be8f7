"""Exhibits: what a report shows beside figures: streams with their posteriors, the worst mistakes with their sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Card, Trigger
from otolith.inference.detector import Detector
from otolith.inference.events import Detection
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.recordings import load_audio
from otolith_training.data.datasets import Clip, Run
from otolith_training.data.signals import Signal, whole_of
from otolith_training.measure.decide import SMOOTHING_S, TAIL_S
from otolith_training.measure.decisions import Decisions, hear
from otolith_training.measure.sweep import Smoothed, smooth
from otolith_training.measure.tracks import LATE_S, Recording, Track, read_blocks

Floats = NDArray[np.float32]

WORST = 8  # of each kind of mistake
STRIP_CLIPS = 16
STRIP_S = 30.0  # a timeline's length
MARGIN_S = 1.0  # of sound around a mistake in a long recording
SEED = 1


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """A stretch of a stream: its posteriors, what was to be heard and what was detected, in seconds from its start."""

    title: str
    labels: Sequence[str]
    posteriors: Floats  # (frames, labels)
    frame_s: float
    truth: Sequence[tuple[str, float, float]]
    detected: Sequence[tuple[str, float, float]]
    sound: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Mistake:
    """One mistake, and its sound where it has any."""

    title: str
    detail: str
    sound: Floats | None


@dataclass(slots=True)
class Exhibits:
    """All that a report shows beside figures."""

    sample_rate: int
    strips: list[Strip] = field(default_factory=list)
    missed: list[Mistake] = field(default_factory=list)
    false_alarms: list[Mistake] = field(default_factory=list)


def from_clips(model: Model, items: Sequence[Clip], decisions: Decisions) -> Exhibits:
    """A stream of some of the clips, and the clips that were taken for something else, the surest first."""
    card = model.card
    exhibits = Exhibits(round(card.sample_rate), [_strip_of_clips(model, items)])
    mistakes = []
    for index in np.flatnonzero(decisions.truth != decisions.found).tolist():
        sound = load_audio(items[index].path, round(card.sample_rate))
        posteriors = hear(Stream(model), sound, tail=round(TAIL_S * card.sample_rate) + card.hop_length)
        found = int(decisions.found[index])
        sure = float(smooth(posteriors[:, found], SMOOTHING_S, card.frame_rate).max())
        mistakes.append((sure, index, sound))
    for sure, index, sound in sorted(mistakes, key=lambda mistake: -mistake[0]):
        truth, found = card.labels[decisions.truth[index]], card.labels[decisions.found[index]]
        mistake = Mistake(f"{items[index].label} heard as {found}", f"sure {sure:.2f} · {items[index].name}", sound)
        if truth in card.detector and len(exhibits.missed) < WORST:
            exhibits.missed.append(mistake)
        elif truth not in card.detector and found in card.detector and len(exhibits.false_alarms) < WORST:
            exhibits.false_alarms.append(mistake)
    return exhibits


def from_runs(model: Model, items: Sequence[Run | Signal], decisions: Decisions) -> Exhibits:
    """The run or signal that is heard as well as most, and the two that are heard worst."""
    card = model.card
    right = (decisions.truth == decisions.found).astype(np.float64)
    accuracy = np.bincount(decisions.item, right) / np.bincount(decisions.item)
    order = np.argsort(accuracy, kind="stable").tolist()
    shown = [(order[len(order) // 2], "as most are"), *((index, "among the worst") for index in order[:2])]
    exhibits = Exhibits(round(card.sample_rate))
    for index, how in dict(reversed(shown)).items():
        run, rows = items[index], decisions.item == index
        names = [card.labels[label] for label in decisions.truth[rows]]
        posteriors = hear(Stream(model), whole_of(run, round(card.sample_rate)))
        if decisions.stretches:
            names = names[:1] * len(posteriors)
        exhibits.strips.insert(
            0,
            Strip(
                f"{run.name}, {accuracy[index]:.0%} of it right, {how}",
                card.labels,
                posteriors,
                1 / card.frame_rate,
                _spans(names, 1 / card.frame_rate),
                _detections(posteriors, card, card.detector),
            ),
        )
    return exhibits


def from_tracks(model: Model, recordings: Sequence[Recording], tracks: Sequence[Track]) -> Exhibits:
    """The busiest stretch of a recording, the events missed by most, and the surest false alarms."""
    card = model.card
    exhibits = Exhibits(round(card.sample_rate))
    busiest = max(range(len(tracks)), key=lambda number: len(tracks[number].events))
    exhibits.strips.append(_strip_of_track(tracks[busiest], recordings[busiest], card))
    missed: list[tuple[float, int, str, int, int]] = []  # how sure, which track, label, from, to
    false: list[tuple[float, int, str, int, int]] = []
    for label, trigger in card.detector.items():
        smoothed = Smoothed(tracks, card, label, trigger.smoothing_s, trigger.release)
        found = smoothed.find(trigger.threshold, trigger.release, trigger.refractory_s)
        own = [(n, event) for n, track in enumerate(tracks) for event in track.events if event.label == label]
        levels = [
            smooth(track.posteriors[:, card.labels.index(label)], trigger.smoothing_s, card.frame_rate)
            for track in tracks
        ]
        for (number, event), late_s in zip(own, found.late_s.tolist(), strict=True):
            if np.isnan(late_s):
                first, last = (
                    event.start // card.hop_length,
                    event.end // card.hop_length + round(LATE_S * card.frame_rate),
                )
                missed.append(
                    (float(levels[number][first : last + 1].max(initial=0)), number, label, event.start, event.end)
                )
        for number, positions in enumerate(found.false_at):
            for position in positions.tolist():
                frame = position // card.hop_length - 1
                sure = float(levels[number][frame : frame + round(LATE_S * card.frame_rate)].max(initial=0))
                false.append((sure, number, label, position - round(card.sample_rate), position))
    for sure, number, label, start, end in sorted(missed)[:WORST]:
        exhibits.missed.append(_mistake(recordings[number], card, f"{label} missed", f"rose to {sure:.2f}", start, end))
    for sure, number, label, start, end in sorted(false, reverse=True)[:WORST]:
        exhibits.false_alarms.append(
            _mistake(recordings[number], card, f"false {label}", f"rose to {sure:.2f}", start, end)
        )
    return exhibits


def _mistake(recording: Recording, card: Card, title: str, detail: str, start: int, end: int) -> Mistake:
    margin = round(MARGIN_S * card.sample_rate)
    sound = None
    if card.kind == "audio":
        sound = cut(recording, card, max(0, start - margin), end + margin)
    return Mistake(title, f"{detail} · {recording.name}, until {end / card.sample_rate:.1f} s", sound)


def cut(recording: Recording, card: Card, start: int, end: int) -> Floats:
    """A recording's samples or rows from `start` to `end`, or to where it ends."""
    parts = []
    at = 0
    for block in read_blocks(recording.path, card):
        parts.append(block[max(0, start - at) : max(0, end - at)])
        at += len(block)
        if at >= end:
            break
    return np.concatenate(parts)


def _strip_of_clips(model: Model, items: Sequence[Clip]) -> Strip:
    card = model.card
    chosen = np.random.default_rng(SEED).permutation(len(items))[:STRIP_CLIPS].tolist()
    sounds = [load_audio(items[index].path, round(card.sample_rate)) for index in chosen]
    ends = np.cumsum([len(sound) for sound in sounds]) / card.sample_rate
    truth = [
        (items[index].label, end - len(sound) / card.sample_rate, end)
        for index, sound, end in zip(chosen, sounds, ends.tolist(), strict=True)
    ]
    sound = np.concatenate(sounds)[: round(STRIP_S * card.sample_rate)]
    posteriors = hear(Stream(model), sound)
    detected = _detections(posteriors, card, card.detector)
    length_s = len(sound) / card.sample_rate
    truth = [(label, start, min(end, length_s)) for label, start, end in truth if start < length_s]
    title = f"{len(truth)} clips, one after another, on one stream"
    return Strip(title, card.labels, posteriors, 1 / card.frame_rate, truth, detected, sound)


def _strip_of_track(track: Track, recording: Recording, card: Card) -> Strip:
    """The stretch with most events."""
    rate, frame_s = card.sample_rate, 1 / card.frame_rate
    length = min(round(STRIP_S * rate), track.length)
    starts = [max(0, min(event.start - round(rate), track.length - length)) for event in track.events] or [0]
    busy = [sum(start <= event.start and event.end <= start + length for event in track.events) for start in starts]
    start = starts[int(np.argmax(busy))]
    begin_s, end_s = start / rate, (start + length) / rate
    first, last = start // card.hop_length, (start + length) // card.hop_length
    truth = [(event.label, event.start / rate, event.end / rate) for event in track.events]
    sound = cut(recording, card, start, start + length) if card.kind == "audio" else None
    return Strip(
        f"{track.name}, {begin_s:.1f} to {end_s:.1f} s",
        card.labels,
        track.posteriors[first:last],
        frame_s,
        _within(truth, begin_s, end_s),
        _within(_detections(track.posteriors, card, card.detector), begin_s, end_s),
        sound,
    )


def _within(spans: Sequence[tuple[str, float, float]], start: float, end: float) -> list[tuple[str, float, float]]:
    return [(label, max(a, start) - start, min(b, end) - start) for label, a, b in spans if a < end and b > start]


def _detections(posteriors: Floats, card: Card, triggers: Mapping[str, Trigger]) -> list[tuple[str, float, float]]:
    """What the daemon's detector finds: label, start and end in seconds."""
    detector = Detector(card, triggers)
    found: list[Detection] = detector.push(posteriors, 0)
    found += detector.close(len(posteriors) * card.hop_length)
    starts = {event.id: event for event in found if event.phase == "start"}
    return [
        (event.label, starts[event.id].position / card.sample_rate, event.position / card.sample_rate)
        for event in found
        if event.phase == "end"
    ]


def _spans(names: Sequence[str], frame_s: float) -> list[tuple[str, float, float]]:
    edges = [0, *(i for i, (a, b) in enumerate(pairwise(names), start=1) if a != b), len(names)]
    return [(names[a], a * frame_s, b * frame_s) for a, b in pairwise(edges) if a < len(names)]
