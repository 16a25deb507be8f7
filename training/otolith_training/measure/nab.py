"""The score of the Numenta Anomaly Benchmark, by its paper: Lavin and Ahmad, "Evaluating real-time anomaly detection
algorithms: the Numenta anomaly benchmark" (ICMLA 2015), standard profile.

A window is worth the earliest detection in it; one outside costs the more, the farther it lies behind the last window.
The first 15 % of each series, of 5,000 rows at most, are there to learn from and not scored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError

TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = 1.0, 0.11, 1.0  # the standard profile
PROBATION, LONGEST = 0.15, 5000
WINDOWS = "windows.json"

Rows = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Series:
    """A series' length, and its anomalies' windows as first and last row, in order."""

    rows: int
    windows: list[tuple[int, int]]

    @property
    def probation(self) -> int:
        """Rows that a detector may learn from."""
        return int(PROBATION * min(self.rows, LONGEST))


@dataclass(frozen=True, slots=True)
class Score:
    """What detections are worth: 0 is to detect nothing, 100 the first row of every window and nothing else."""

    score: float
    windows: int
    found: int
    false_positives: int


def sigmoid(position: float) -> float:
    """The scoring function, of 1 (long before a window's right edge), 0 (at it) to -1 (far behind).

    `position` is counted in windows' lengths from the right edge.
    """
    return float(2 / (1 + np.exp(5 * min(position, 100.0))) - 1)


def reward(position: float) -> float:
    """What a detection within a window is worth, 1 at its first row (`position` -1)."""
    return TRUE_POSITIVE * sigmoid(position) / sigmoid(-1.0)


def score(series: Mapping[str, Series], detections: Mapping[str, Rows]) -> Score:
    """The normalised score of rows that were detected, by series."""
    raw, windows, found, wrong = 0.0, 0, 0, 0
    for name, of in series.items():
        best = [-FALSE_NEGATIVE] * len(of.windows)
        for row in detections[name]:
            if row < of.probation:
                continue
            window, worth = _worth(of, int(row))
            if window is None:
                raw, wrong = raw + worth, wrong + 1
            else:
                best[window] = max(best[window], worth)
        raw += sum(best)
        windows += len(best)
        found += sum(worth > -FALSE_NEGATIVE for worth in best)
    if not windows:
        raise OtolithError("the series have no windows; a score needs at least one anomaly")
    null, perfect = -FALSE_NEGATIVE * windows, TRUE_POSITIVE * windows
    return Score(100 * (raw - null) / (perfect - null), windows, found, wrong)


def optimise(
    series: Mapping[str, Series], detect: Callable[[float], Mapping[str, Rows]], thresholds: Sequence[float]
) -> tuple[float, Score]:
    """The one threshold for all series whose detections score best, and that score, as the benchmark allows."""
    scored = [(threshold, score(series, detect(threshold))) for threshold in thresholds]
    return max(scored, key=lambda pair: pair[1].score)


def read_corpus(folder: Path) -> dict[str, tuple[Series, Path]]:
    """The series of a folder with `windows.json`, by name. Raises `OtolithError` where it is laid out otherwise."""
    try:
        named: dict[str, list[tuple[str, str]]] = json.loads((folder / WINDOWS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise OtolithError(
            f"{folder / WINDOWS}: cannot be read ({error}); it should list each series' windows"
        ) from None
    corpus = {}
    for path in sorted(folder.glob("*/*.csv")):
        name = path.relative_to(folder).as_posix()
        if name not in named:
            raise OtolithError(f"{folder / WINDOWS}: has no entry for {name}; an empty list says that nothing happens")
        moments = [_moment(line.split(",", 1)[0]) for line in path.read_text("utf-8").splitlines()[1:]]
        at = np.array(moments)
        edges = [(_moment(start), _moment(end)) for start, end in named[name]]
        windows = [(int(np.searchsorted(at, a)), int(np.searchsorted(at, b, "right")) - 1) for a, b in edges]
        corpus[name] = Series(len(at), windows), path
    if not corpus:
        raise OtolithError(f"{folder}: holds no series; they are FOLDER/NAME.csv with timestamp and value")
    return corpus


def _worth(series: Series, row: int) -> tuple[int | None, float]:
    """The window that a row lies in, or none, and what detecting it is worth."""
    before: tuple[int, int] | None = None
    for index, (start, end) in enumerate(series.windows):
        if start <= row <= end:
            return index, reward(-(end - row + 1) / (end - start + 1))
        if end < row:
            before = start, end
    if before is None:
        return None, -FALSE_POSITIVE
    start, end = before
    position = (row - end) / max(end - start, 1)
    return None, FALSE_POSITIVE * (-1.0 if position > 3 else sigmoid(position))


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
