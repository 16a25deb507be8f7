"""A recording as a source: paced as it was recorded, or (`?pace=none`) as fast as it goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from urllib.parse import unquote

import numpy as np

from otolith.errors import UsageError
from otolith.inference.card import Tokens
from otolith.recordings import AudioFile, SensorRecording, read_sensor
from otolith.sources.source import Block, Pace, Source, Spec, Wanted

# Phones deliver rows in bursts up to 0.2 s apart; a longer silence means that rows were lost.
SENSOR_GAP_S = 1.0
SENSOR_GAP_ROWS = 5.0  # ... of rows that come slower than that, as of a meter, this many must be missing
SENSOR_GAP = "silence in the recording"


def open_recording(spec: Spec, wanted: Wanted) -> Source:
    """`recording:PATH[?pace=real|none]`. Raises `RecordingError`, `UsageError`."""
    spec.allow("pace")
    if not spec.target:
        raise UsageError(f"source {spec.text!r}: names no file; write recording:PATH")
    path = Path(spec.target)
    if not os.path.exists(path):  # noqa: PTH110 - to a name that is too long, a Path raises
        path = Path(unquote(spec.target))
    return read_recording(path, wanted, paced=spec.choice("pace", ("real", "none")) == "real")


def read_recording(path: Path, wanted: Wanted, *, paced: bool, start_ns: int | None = None) -> Source:
    """The recording at `path` for a model; capture times count from `start_ns`, or from now."""
    if wanted.kind == "audio":
        return AudioRecording(path, paced, start_ns)
    if isinstance(wanted.tokens, Tokens):
        from otolith.sources.text import TextRecording

        return TextRecording(path, wanted.tokens, wanted.sample_rate, paced, start_ns)
    return SensorRows(read_sensor(path), tuple(channel.name for channel in wanted.channels), paced, start_ns)


class AudioRecording:
    """A sound file, block by block."""

    live = False

    def __init__(self, path: Path, paced: bool, start_ns: int | None) -> None:
        with AudioFile(path) as file:
            self.rate: float = file.rate
        self._path, self._paced, self._start_ns = path, paced, start_ns

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`."""
        clock = Pace(self._paced, self._start_ns)
        length = max(1, round(self.rate * clock.block_s))
        position = 0
        with AudioFile(self._path) as file:
            # Read a second at a time: at real time, a wake-up that reads the file costs more than one that slices.
            for second in file.blocks(length * max(1, round(1 / clock.block_s))):
                for start in range(0, len(second), length):
                    samples = second[start : start + length]
                    position += len(samples)
                    if not clock.reach(position / self.rate, stop):
                        return
                    yield Block(samples, clock.time_ns(position / self.rate))


class SensorRows:
    """A sensor recording, paced by its own time column."""

    live = False

    def __init__(
        self, recording: SensorRecording, channels: tuple[str, ...], paced: bool, start_ns: int | None
    ) -> None:
        self._rows = recording.select(channels)
        self._time_s = recording.time_s - recording.time_s[0]
        self.rate = recording.rate
        self._paced, self._start_ns = paced, start_ns

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`; a silence of over a second, and five rows, is declared as the rows that are missing."""
        clock = Pace(self._paced, self._start_ns)
        gap_s = max(SENSOR_GAP_S, SENSOR_GAP_ROWS / self.rate if self.rate else 0.0)
        steps = np.diff(self._time_s, prepend=0.0)
        slices = np.floor(self._time_s / clock.block_s)
        cuts = np.flatnonzero((np.diff(slices, prepend=slices[0]) > 0) | (steps > gap_s))
        for start, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(self._rows)], strict=True):
            elapsed_s = float(self._time_s[end - 1])
            if not clock.reach(elapsed_s, stop):
                return
            lost = max(1, round(float(steps[start]) * self.rate) - 1) if steps[start] > gap_s else 0
            yield Block(self._rows[start:end], clock.time_ns(elapsed_s), lost, SENSOR_GAP if lost else "")
