"""The stitcher: labelled runs of sensor rows become endless streams, one run after another.

Runs are varied as bodies and wearers vary them: how the sensor sits (rotation), how strong (scale) and how quick
(speed) a movement is, both also within a run (Um et al., "Data augmentation of wearable sensor data for Parkinson's
disease monitoring using convolutional neural networks", ICMI 2017); how well its clock keeps time, and noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from otolith_training.data.composer import Chunk, Seed
from otolith_training.data.material import RowSet
from otolith_training.recipe import Runs

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Places = NDArray[np.float64]

KNOTS = 4  # within a run, besides its ends, where a smooth curve is drawn: as many as Um et al. use
SLOWEST = 0.1  # of the speed within a run: time stands never still


class RunStitcher:
    """Endless streams of rows; the same seed gives the same streams."""

    def __init__(
        self,
        rows: RowSet,
        settings: Runs,
        channels: Sequence[str],
        labels: int,
        *,
        streams: int,
        frames: int,
        fresh_start: float,
        seed: Seed,
    ) -> None:
        self._rows = rows
        self._settings = settings
        self._triples = three_axis(channels)
        self._deviation = np.concatenate([run.values for run in rows.runs]).std(axis=0)
        self._labels = labels
        self._frames = frames
        self._fresh_start = fresh_start
        self._random = np.random.default_rng(seed)
        self._ahead: list[tuple[Floats, Labels] | None] = [None] * streams

    def next(self) -> Chunk:
        """The next `frames` rows of every stream."""
        streams = len(self._ahead)
        frames = np.empty((streams, self._frames, len(self._deviation)), np.float32)
        allowed = np.zeros((streams, self._frames, self._labels), bool)
        fresh = self._random.random(streams) < self._fresh_start
        for stream in range(streams):
            fresh[stream] |= self._ahead[stream] is None
            if fresh[stream]:
                self._ahead[stream] = self._begin()
            values, labels = self._take(stream)
            frames[stream] = values
            allowed[stream, np.arange(self._frames), labels] = True
        return Chunk(frames, allowed, fresh)

    def _begin(self) -> tuple[Floats, Labels]:
        values, labels = self._draw()
        first = 0 if self._random.random() < self._settings.start_on_run else int(self._random.integers(len(values)))
        return values[first:], labels[first:]

    def _take(self, stream: int) -> tuple[Floats, Labels]:
        ahead = self._ahead[stream] or self._draw()
        while len(ahead[0]) < self._frames:
            following = self._draw()
            ahead = np.concatenate((ahead[0], following[0])), np.concatenate((ahead[1], following[1]))
        self._ahead[stream] = ahead[0][self._frames :], ahead[1][self._frames :]
        return ahead[0][: self._frames], ahead[1][: self._frames]

    def _draw(self) -> tuple[Floats, Labels]:
        """A run, varied."""
        s, random = self._settings, self._random
        index = int(random.integers(len(self._rows.runs)))
        run, speed = self._rows.runs[index].values, random.uniform(*s.speed)
        place = even_pace(len(run), speed)
        if s.time_warp or s.rate_drift:  # drawn only where asked for, so that recipes without them keep their streams
            place = uneven_pace(random, len(run), len(place), s.time_warp, s.rate_drift)
        values, labels = take_rows(run, self._rows.labels[index], place)
        silent = int(random.integers(len(self._triples))) if self._triples and random.random() < s.mask_sensors else -1
        turn = rotation(random, s.rotation_deg)  # one body: all its sensors turn together
        for number, triple in enumerate(self._triples):
            values[:, triple] = values[:, triple] @ turn * np.float32(random.normal(1, s.scale))
            if s.magnitude_warp:
                values[:, triple] *= smooth_factor(random, len(values), s.magnitude_warp).astype(np.float32)[:, None]
            if number == silent:
                values[:, triple] = 0
        values += random.standard_normal(values.shape, np.float32) * (self._deviation * np.float32(s.jitter))
        return values, labels


def three_axis(channels: Sequence[str]) -> list[list[int]]:
    """Columns that are one sensor's x, y and z, by their names (`acc_x`, `acc_y`, `acc_z`)."""
    stems: dict[str, dict[str, int]] = {}
    for index, name in enumerate(channels):
        if name[-1:].lower() in "xyz":
            stems.setdefault(name[:-1], {})[name[-1:].lower()] = index
    return [[axes[a] for a in "xyz"] for axes in stems.values() if len(axes) == 3]


def rotation(random: np.random.Generator, deviation_deg: float) -> Floats:
    """A random rotation `(3, 3)` about a random axis (Rodrigues)."""
    axis = random.standard_normal(3)
    x, y, z = axis / (np.linalg.norm(axis) + 1e-9)
    angle = np.deg2rad(random.normal(0, deviation_deg))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross), np.float32)


def even_pace(rows: int, speed: float) -> Places:
    """Where in a run of `rows` rows each row of one `speed` times as fast comes from."""
    return np.linspace(0, rows - 1, max(2, int(rows / speed)))


def uneven_pace(random: np.random.Generator, rows: int, count: int, time_warp: float, rate_drift: float) -> Places:
    """Where in a run of `rows` rows each of `count` comes from, `(count,)`, under a speed that changes on the way.

    It changes smoothly, by `time_warp` at each knot, and steadily from the run's start to its end, by `rate_drift` each
    way; both are deviations, as shares of the speed. The run still begins and ends where it did.
    """
    speed = smooth_factor(random, count, time_warp)
    speed += random.normal(0, rate_drift) * np.linspace(-1, 1, count)
    speed = np.maximum(speed, SLOWEST)
    passed = np.concatenate(([0.0], np.cumsum(speed[1:] + speed[:-1])))
    return np.asarray(passed / passed[-1] * (rows - 1))


def smooth_factor(random: np.random.Generator, count: int, deviation: float) -> Places:
    """A factor about 1 for each of `count` rows, drawn at each knot; straight lines between."""
    knots = np.linspace(0, count - 1, KNOTS + 2)
    return np.asarray(np.interp(np.arange(count), knots, random.normal(1, deviation, KNOTS + 2)))


def take_rows(values: Floats, labels: Labels, place: Places) -> tuple[Floats, Labels]:
    """Rows at places between rows, by straight lines; labels go to the nearest."""
    last = len(values) - 1
    below = np.minimum(place.astype(np.int64), max(0, last - 1))
    above = np.minimum(below + 1, last)
    part = (place - below).astype(np.float32)[:, None]
    return values[below] * (1 - part) + values[above] * part, labels[np.rint(place).astype(np.int64)]
