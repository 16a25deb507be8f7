"""The watch: how unlikely live rows are under what was forecast for them; many streams as rows of one array.

Each row's error is taken from the forecast that was made `lead` rows before it, smoothed (so that one noisy row is no
alarm), and held against the mean and deviation of the stream's own smoothed errors so far: rolling likelihood, as in
Ahmad et al., "Unsupervised real-time anomaly detection for streaming data" (Neurocomputing 2017). The score is the
tail's probability on a logarithmic scale, so that one threshold serves every series: 0.3 is one in a thousand, 0.6 one
in a million, 1 one in ten thousand millions or less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Anomaly, Card, Forecast
from otolith.inference.model import Floats, Frames
from otolith.inference.rows import Rows, grown

Doubles = NDArray[np.float64]

DECADES = 10  # powers of ten that the score goes through on its way from 0 to 1
LEAST_DEVIATION = 1e-3  # of a channel's scale: rows that never move must not make the least step an alarm

CERTAIN = 30.0  # half a squared distance in deviations whose tail is far beyond the last decade


class Watch:
    """A row a stream, of one model whose card has an `anomaly` section."""

    def __init__(self, card: Card) -> None:
        assert isinstance(card.anomaly, Anomaly) and isinstance(card.forecast, Forecast)  # noqa: S101, PT018
        self._lead, self._warm_up = card.anomaly.lead, card.anomaly.warm_up_rows
        self._share, self._memory = 1 / card.anomaly.smoothing_rows, card.anomaly.memory_rows
        self._least_variance = np.square(LEAST_DEVIATION * np.array(card.forecast.scale))
        self._allowance = math.log10(len(card.channels))  # the most unlikely of several is less of a surprise
        channels = len(card.channels)
        self._expected = np.zeros((0, self._lead, channels), np.float32)  # a ring: what was forecast for rows to come
        self._seen = np.zeros(0, np.int64)  # rows since the fresh start
        self._errors = np.zeros((3, 0, channels))  # smoothed; their mean and variance so far

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._expected, self._seen = grown(self._expected, capacity), grown(self._seen, capacity)
        self._errors = grown(self._errors, capacity, axis=1)

    def begin(self, row: int) -> None:
        """Row `row` starts afresh."""
        self._seen[row] = 0
        self._errors[:, row] = 0

    def remember(self, rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """What is known of `rows`, the leading axis of each array."""
        errors = np.ascontiguousarray(self._errors[:, rows].swapaxes(0, 1))
        return {"watch.expected": self._expected[rows], "watch.seen": self._seen[rows], "watch.errors": errors}

    def recall(self, row: int, known: Mapping[str, NDArray[Any]]) -> None:
        """Row `row` goes on where another stood, of which `remember` told `known`, `(1, ...)` each."""
        self._expected[row], self._seen[row] = known["watch.expected"][0], known["watch.seen"][0]
        self._errors[:, row] = known["watch.errors"][0]

    def push(self, rows: Rows, frames: Frames, forecasts: Floats) -> Floats:
        """Scores `(streams, frames)` of `frames` `(streams, frames, channels)`, in their own units.

        `forecasts` `(streams, frames, horizon, channels)` is what the model says behind each.
        """
        scores = np.zeros(frames.shape[:2], np.float32)
        ahead = forecasts[:, :, self._lead - 1]
        places = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
        seen, errors = self._seen[places], self._errors[:, places]
        for frame in range(frames.shape[1]):
            at = seen % self._lead
            error = np.subtract(frames[:, frame], self._expected[places, at], dtype=np.float64)
            self._expected[places, at] = ahead[:, frame]
            scores[:, frame] = self._judge(errors, error, seen - self._lead)
            seen += 1
        self._seen[places], self._errors[:, places] = seen, errors
        return scores

    def _judge(self, errors: Doubles, error: Doubles, judged: NDArray[np.int64]) -> list[float]:
        """Scores, one a stream, of an error a channel, which is then remembered in `errors`.

        `judged` errors are there already; while that is below 0, nothing had been forecast for the row.
        """
        is_early = min(judged.tolist()) < 0
        before = errors.copy() if is_early else errors
        smoothed, mean, variance = errors
        smoothed += self._share * (error - smoothed)
        distance = smoothed - mean
        square = distance * distance
        halves = (square / np.maximum(variance, self._least_variance)).max(axis=1) / 2  # of the farthest channel
        share = 1 / np.minimum(np.maximum(judged + 1, 1), self._memory)[:, None]
        mean += share * distance
        variance += share * square
        variance *= 1 - share
        if is_early:
            errors[:] = np.where((judged >= 0)[:, None], errors, before)
        pairs = zip(halves.tolist(), judged.tolist(), strict=True)
        return [self._score(half) if count >= self._warm_up else 0.0 for half, count in pairs]

    def _score(self, half: float) -> float:
        """The score of an error whose distance in deviations, squared, is twice `half`."""
        if half >= CERTAIN:
            return 1.0
        decades = -math.log10(math.erfc(math.sqrt(half))) - self._allowance  # one number: math is faster than numpy
        return min(max(decades / DECADES, 0.0), 1.0)
