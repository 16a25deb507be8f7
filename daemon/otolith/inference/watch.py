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

CERTAIN = 60.0  # a squared distance in deviations whose tail is far beyond the last decade


class Watch:
    """A row a stream, of one model whose card has an `anomaly` section."""

    def __init__(self, card: Card) -> None:
        assert isinstance(card.anomaly, Anomaly) and isinstance(card.forecast, Forecast)  # noqa: S101, PT018
        self._lead, self._warm_up = card.anomaly.lead, card.anomaly.warm_up_rows
        self._share, self._memory = 1 / card.anomaly.smoothing_rows, card.anomaly.memory_rows
        self._least_variance = np.square(LEAST_DEVIATION * np.array(card.forecast.scale))
        self._least_variances = self._least_variance.tolist()
        self._allowance = math.log10(len(card.channels))  # the most unlikely of several is less of a surprise
        channels = len(card.channels)
        self._expected = np.zeros((0, channels), np.float32)  # rings of `lead`: what was forecast for rows to come
        self._rings = np.zeros(0, np.int64)  # where each row's begins
        self._seen = np.zeros(0, np.int64)  # rows since the fresh start
        self._errors = np.zeros((3, 0, channels))  # smoothed; their mean and variance so far

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._expected, self._seen = grown(self._expected, capacity * self._lead), grown(self._seen, capacity)
        self._rings = np.arange(capacity) * self._lead
        self._errors = grown(self._errors, capacity, axis=1)

    def begin(self, row: int) -> None:
        """Row `row` starts afresh."""
        self._seen[row] = 0
        self._errors[:, row] = 0

    def remember(self, rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """What is known of `rows`, the leading axis of each array."""
        errors = np.ascontiguousarray(self._errors[:, rows].swapaxes(0, 1))
        return {"watch.expected": self._by_row()[rows], "watch.seen": self._seen[rows], "watch.errors": errors}

    def recall(self, row: int, known: Mapping[str, NDArray[Any]]) -> None:
        """Row `row` goes on where another stood, of which `remember` told `known`, `(1, ...)` each."""
        self._by_row()[row], self._seen[row] = known["watch.expected"][0], known["watch.seen"][0]
        self._errors[:, row] = known["watch.errors"][0]

    def _by_row(self) -> Floats:
        """The rings as `(rows, lead, channels)`."""
        return self._expected.reshape(-1, self._lead, self._expected.shape[1])

    def push(self, rows: Rows, frames: Frames, forecasts: Floats) -> Floats:
        """Scores `(streams, frames)` of `frames` `(streams, frames, channels)`, in their own units.

        `forecasts` `(streams, frames, horizon, channels)` is what the model says behind each.
        """
        ahead = forecasts[:, :, self._lead - 1]
        if len(frames) == 1:
            row = rows.start if isinstance(rows, slice) else int(rows[0])
            return np.array([self._push_alone(row, frames[0].tolist(), ahead[0])], np.float32)
        scores = np.empty(frames.shape[:2], np.float32)
        rings, seen, errors = self._rings[rows], self._seen[rows], self._errors[:, rows]
        for frame in range(frames.shape[1]):
            at = rings + seen % self._lead
            error = np.subtract(frames[:, frame], self._expected[at], dtype=np.float64)
            self._expected[at] = ahead[:, frame]
            scores[:, frame] = self._judge(errors, error, seen - self._lead)
            seen += 1
        self._seen[rows], self._errors[:, rows] = seen, errors
        return scores

    def _push_alone(self, row: int, frames: list[list[float]], ahead: Floats) -> list[float]:
        """Scores of one stream's `frames`, to the last bit as in company.

        Number by number: between two steps of the runtime, twenty operations on arrays of one value take 50 us, and
        this 10.
        """
        seen, ring, scores = int(self._seen[row]), row * self._lead, []
        errors = self._errors[:, row].T.tolist()  # (channels, 3)
        for values, following in zip(frames, ahead, strict=True):
            at, judged, farthest = ring + seen % self._lead, seen - self._lead, 0.0
            share = 1 / min(max(judged, 0) + 1, self._memory)
            for channel, (value, expected) in enumerate(zip(values, self._expected[at].tolist(), strict=True)):
                if judged >= 0:
                    smoothed, mean, variance = errors[channel]
                    smoothed += self._share * (value - expected - smoothed)
                    distance = smoothed - mean
                    square = distance * distance
                    farthest = max(farthest, square / max(variance, self._least_variances[channel]))
                    errors[channel] = smoothed, mean + share * distance, (variance + share * square) * (1 - share)
            self._expected[at] = following
            scores.append(self._score(farthest) if judged >= self._warm_up else 0.0)
            seen += 1
        self._seen[row], self._errors[:, row] = seen, np.transpose(errors)
        return scores

    def _judge(self, errors: Doubles, error: Doubles, judged: NDArray[np.int64]) -> list[float]:
        """Scores, one a stream, of an error a channel, which is then remembered in `errors`.

        `judged` errors are there already; while that is below 0, nothing had been forecast for the row.
        """
        counts = judged.tolist()
        if min(counts) < 0:
            error = np.where((judged >= 0)[:, None], error, 0)  # which moves nothing: all are 0 until the first
            judged = np.maximum(judged, 0)
        smoothed, mean, variance = errors
        error -= smoothed
        error *= self._share
        smoothed += error
        distance = smoothed - mean
        square = distance * distance
        squares = np.maximum.reduce(square / np.maximum(variance, self._least_variance), axis=1)  # the farthest channel
        share = 1 / np.minimum(judged + 1, self._memory)[:, None]
        distance *= share
        mean += distance
        square *= share
        variance += square
        variance *= 1 - share
        pairs = zip(squares.tolist(), counts, strict=True)
        return [self._score(square) if count >= self._warm_up else 0.0 for square, count in pairs]

    def _score(self, square: float) -> float:
        """The score of an error by its distance in deviations, squared."""
        if square >= CERTAIN:
            return 1.0
        tail = math.erfc(math.sqrt(square / 2))  # of one number: math is faster than numpy
        decades = -math.log10(tail) - self._allowance
        return min(max(decades / DECADES, 0.0), 1.0)
