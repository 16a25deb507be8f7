"""Tracks: long recordings with their events, each heard once by the daemon's own `Stream`; posteriors are kept.

Thresholds are tried on posteriors afterwards (`sweep.py`), so an hour of sound is stepped once, block by block.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError, RecordingError
from otolith.inference.card import Card
from otolith.inference.events import Posteriors
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.recordings import AUDIO_SUFFIXES, SENSOR_SUFFIXES, AudioFile, read_sensor
from otolith_training.data.datasets import MANIFEST, SPLIT_NAMES, read_manifest

Floats = NDArray[np.float32]
Advance = Callable[[int, int], None]  # done, of how many

EVENTS = "events.csv"
COLUMNS = ("file", "start", "end", "label")
LATE_S = 0.5  # a detection this long after an event's end still is of that event
BLOCK_S = 60.0
ROUNDING_S = 0.05  # an event may end this much behind its recording: people round


@dataclass(frozen=True, slots=True)
class Event:
    """A label that is to be heard from `start` to `end`, in samples (or rows) since the track began."""

    label: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A file and what happens in it; `events` are in seconds."""

    name: str
    path: Path
    events: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """What a model made of a recording, from a fresh start to its end."""

    name: str
    path: Path | None  # None where it was composed
    posteriors: Floats  # (frames, labels)
    events: tuple[Event, ...]
    length: int  # samples (or rows) that were heard


def find_recordings(data: Path, card: Card, split: str | None = None) -> list[Recording]:
    """The long recordings of a folder with `events.csv`: those of its manifest, or all there are.

    `split` picks those of the manifest's split. Raises `OtolithError` where something is missing or does not fit.
    """
    events = read_events(data / EVENTS, card.labels)
    names = _names(data, card, split)
    everything = _names(data, card, None)
    if strange := sorted(set(events) - set(everything)):
        raise RecordingError(
            f"{data / EVENTS}: names {len(strange)} recordings that are not there, the first {strange[0]!r}; "
            f"copy them (and name them in {MANIFEST}) or take their rows out"
        )
    return [Recording(name, data / name, tuple(events.get(name, ()))) for name in names]


def read_events(path: Path, labels: Collection[str]) -> dict[str, list[tuple[str, float, float]]]:
    """Events by file: label, start and end in seconds, in order of start. Raises `RecordingError`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            rows = list(reader)
            header = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path}: cannot be read as CSV ({error}); export it as UTF-8 CSV") from None
    if missing := [name for name in COLUMNS if name not in header]:
        raise RecordingError(f"{path}: has no column {', '.join(missing)}; it holds {', '.join(COLUMNS)}")
    events: dict[str, list[tuple[str, float, float]]] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path}: line {number}"
        start, end = _seconds(where, "start", row["start"]), _seconds(where, "end", row["end"])
        if not 0 <= start < end:
            raise RecordingError(f"{where}: an event from {start:g} to {end:g} s; it must start at 0 or later and last")
        if row["label"] not in labels:
            raise RecordingError(
                f"{where}: label {row['label']!r} is none that the model tells ({', '.join(labels)}); "
                "rename it, or take the row out and let the model be measured as if nothing was there"
            )
        events.setdefault(row["file"], []).append((row["label"], start, end))
    return {name: sorted(found, key=lambda event: event[1]) for name, found in events.items()}


def hear_all(model: Model, recordings: Sequence[Recording], advance: Advance | None = None) -> list[Track]:
    """Each recording's track, from a fresh start. Raises `OtolithError`."""
    tracks = []
    for number, recording in enumerate(recordings):
        tracks.append(hear(Stream(model), recording))
        if advance is not None:
            advance(number + 1, len(recordings))
    return tracks


def hear(stream: Stream, recording: Recording) -> Track:
    """The recording's track as this stream hears it, with half a second of silence behind: an event at its very
    end has the time that any other has."""
    card = stream.model.card
    parts: list[Floats] = []
    length = 0
    for block in read_blocks(recording.path, card):
        parts += push(stream, block)
        length += len(block)
    tail = round(LATE_S * card.sample_rate) + card.hop_length
    parts += push(stream, np.zeros((tail, *_row_shape(card)), np.float32))
    posteriors = np.concatenate(parts)[: (length + tail) // card.hop_length]
    return Track(recording.name, recording.path, posteriors, _in_samples(recording, card, length), length)


def push(stream: Stream, block: Floats) -> list[Floats]:
    """The posteriors `(frames, labels)` that a block gives."""
    return [event.values for event in stream.push(block) if isinstance(event, Posteriors)]


def read_blocks(path: Path, card: Card) -> Iterator[Floats]:
    """A recording's samples `(n,)` or rows `(n, channels)` as the model takes them. Raises `RecordingError`."""
    if card.kind == "sensor":
        recording = read_sensor(path)
        yield recording.select([channel.name for channel in card.channels])
        return
    rate = round(card.sample_rate)
    with AudioFile(path) as file:
        if file.rate == rate:
            yield from file.blocks(round(BLOCK_S * rate))
            return
        import soxr

        resampler = soxr.ResampleStream(file.rate, rate, 1, dtype="float32")
        for block in file.blocks(round(BLOCK_S * file.rate)):
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def tracks_of_labels(card: Card, runs: Sequence[tuple[str, Floats, Sequence[str]]]) -> list[Track]:
    """Tracks of labelled rows (name, posteriors, a label a row): an event wherever one label stands without a break."""
    tracks = []
    for name, posteriors, labels in runs:
        edges = [0, *(i for i, (a, b) in enumerate(pairwise(labels), start=1) if a != b), len(labels)]
        events = tuple(
            Event(labels[a], a * card.hop_length, b * card.hop_length) for a, b in pairwise(edges) if a < len(labels)
        )
        tracks.append(Track(name, None, posteriors, events, len(posteriors) * card.hop_length))
    return tracks


def hours_of(tracks: Sequence[Track], card: Card) -> float:
    """Hours heard."""
    return sum(track.length for track in tracks) / card.sample_rate / 3600


def negative_hours_of(tracks: Sequence[Track], card: Card, labels: Collection[str]) -> float:
    """Hours in which none of `labels` was to be heard, nor had just been."""
    late = round(LATE_S * card.sample_rate)
    covered = 0
    for track in tracks:
        reached = 0
        for event in sorted((e for e in track.events if e.label in labels), key=lambda event: event.start):
            end = min(event.end + late, track.length)
            covered += max(0, end - max(event.start, reached))
            reached = max(reached, end)
    return hours_of(tracks, card) - covered / card.sample_rate / 3600


def _in_samples(recording: Recording, card: Card, length: int) -> tuple[Event, ...]:
    length_s = length / card.sample_rate
    for label, start, end in recording.events:
        if end > length_s + ROUNDING_S:
            raise RecordingError(
                f"{recording.path}: {EVENTS} has {label!r} from {start:g} to {end:g} s, "
                f"but the recording lasts {length_s:.2f} s; mend its times or the file's name"
            )
    rate = card.sample_rate
    return tuple(
        Event(label, round(start * rate), min(round(end * rate), length)) for label, start, end in recording.events
    )


def _names(data: Path, card: Card, split: str | None) -> list[str]:
    if not data.is_dir():
        raise OtolithError(f"{data}: is no folder of recordings; name one with --data")
    if (data / MANIFEST).is_file():
        rows: Sequence[Mapping[str, str]] = read_manifest(data)
    else:
        suffixes = SENSOR_SUFFIXES if card.kind == "sensor" else AUDIO_SUFFIXES
        paths = [path for path in sorted(data.glob("**/*")) if path.name.lower().endswith(suffixes)]
        rows = [{"file": path.relative_to(data).as_posix()} for path in paths if path != data / EVENTS]
    names = [row["file"] for row in rows if split is None or SPLIT_NAMES.get((row.get("split") or "").lower()) == split]
    if not names:
        what = "no recordings" if split is None else f"no recordings of the split {split!r}"
        raise OtolithError(f"{data}: holds {what}; bring some, or name another split with --split")
    return names


def _seconds(where: str, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RecordingError(f"{where}: {column} is {text!r}; write seconds since the recording's start")
    return value


def _row_shape(card: Card) -> tuple[int, ...]:
    return (len(card.channels),) if card.kind == "sensor" else ()
