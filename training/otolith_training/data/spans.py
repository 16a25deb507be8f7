"""Spans: unlabelled series become streams that begin anywhere in them, with the rows that follow each piece."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError
from otolith_training.data.composer import Chunk, Seed
from otolith_training.data.datasets import Run

Floats = NDArray[np.float32]


class SpanComposer:
    """Endless streams of rows; the same seed gives the same streams.

    A stream goes on through its series until that ends, or starts afresh with a chance of `fresh_start` a piece. Rows
    whose look-back reaches behind its start count nothing, but where that is the series' own: so a live stream begins.
    Raises `OtolithError` where no series is long enough.
    """

    def __init__(
        self,
        series: Sequence[Run],
        *,
        look_back: int,
        horizon: int,
        streams: int,
        frames: int,
        fresh_start: float,
        seed: Seed,
    ) -> None:
        self._needed = frames + horizon
        self._series = [run.values for run in series if len(run.values) >= self._needed]
        if not self._series:
            longest = max((len(run.values) for run in series), default=0)
            raise OtolithError(
                f"no series is long enough to learn from: {self._needed} rows are needed for chunk_frames and horizon, "
                f"the longest has {longest}; lower those or bring longer recordings"
            )
        lengths = np.array([len(values) for values in self._series], float)
        self._odds = lengths / lengths.sum()
        self._look_back, self._frames, self._fresh_start = look_back, frames, fresh_start
        self._random = np.random.default_rng(seed)
        self._where: list[tuple[int, int, int] | None] = [None] * streams  # series, row, rows seen or beyond need

    def next(self) -> Chunk:
        """The next `frames` rows of every stream, and those `ahead` of them."""
        streams, channels = len(self._where), self._series[0].shape[1]
        whole = np.empty((streams, self._needed, channels), np.float32)
        counted = np.empty((streams, self._frames), bool)
        fresh = self._random.random(streams) < self._fresh_start
        for stream, where in enumerate(self._where):
            if where is None or where[1] + self._needed > len(self._series[where[0]]):
                fresh[stream] = True
            series, row, seen = self._begin() if where is None or fresh[stream] else where
            whole[stream] = self._series[series][row : row + self._needed]
            counted[stream] = np.arange(seen, seen + self._frames) >= self._look_back - 1
            self._where[stream] = series, row + self._frames, seen + self._frames
        frames, ahead = np.split(whole, [self._frames], axis=1)
        allowed = np.ones((streams, self._frames, 0), bool)
        return Chunk(np.ascontiguousarray(frames), allowed, fresh, ahead=ahead, counted=counted)

    def _begin(self) -> tuple[int, int, int]:
        """Anywhere from which at least one piece with a whole look-back is left; else at the start."""
        series = int(self._random.choice(len(self._series), p=self._odds))
        last = len(self._series[series]) - self._needed - self._look_back
        row = int(self._random.integers(max(last, 0) + 1))
        return series, row, 0 if row else self._look_back
