"""The watch: how unlikely live rows are under what was forecast for them; many streams as rows of one array.

Each row's error is taken from the forecast that was made `lead` rows before it, smoothed (so that one noisy row is no
alarm), and held against the mean and deviation of the stream's own smoothed errors so far: rolling likelihood, as in
Ahmad et al., "Unsupervised real-time anomaly detection for streaming data" (Neurocomputing 2017). The score is the
tail's probability on a logarithmic scale, so that one threshold serves every series: 0.3 is one in a thousand, 0.6 one
in a million, 1 one in ten thousand millions or less.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Anomaly, Card, Forecast
from otolith.inference.model import Floats, Frames
from otolith.inference.rows import Rows, grown

DECADES = 10  # powers of ten that the score goes through on its way from 0 to 1
LEAST_DEVIATION = 1e-3  # of a channel's scale: rows that never move must not make the least step an alarm

# erfc(x) = t exp(-x^2 + P(t)), t = 1 / (1 + x / 2), to 1.2e-7 of its value (Press et al., Numerical Recipes, 6.2).
_ERFC = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368,
    -1.26551223,
)  # fmt: skip


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
        self._smoothed, self._mean, self._variance = (np.zeros((0, channels)) for _ in range(3))

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        for name, array in list(vars(self).items()):
            if isinstance(array, np.ndarray) and name != "_least_variance":
                setattr(self, name, grown(array, capacity))

    def begin(self, row: int) -> None:
        """Row `row` starts afresh."""
        for array in (self._seen, self._smoothed, self._mean, self._variance):
            array[row] = 0

    def push(self, rows: Rows, frames: Frames, forecasts: Floats) -> Floats:
        """Scores `(streams, frames)` of `frames` `(streams, frames, channels)`, in their own units.

        `forecasts` `(streams, frames, horizon, channels)` is what the model says behind each.
        """
        scores = np.zeros(frames.shape[:2], np.float32)
        ahead = forecasts[:, :, self._lead - 1]
        places = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
        seen = self._seen[rows]
        for frame in range(frames.shape[1]):
            at = seen % self._lead
            error = frames[:, frame].astype(np.float64) - self._expected[places, at]
            self._expected[places, at] = ahead[:, frame]
            scores[:, frame] = self._judge(rows, error, seen - self._lead)
            seen = seen + 1
        self._seen[rows] = seen
        return scores

    def _judge(self, rows: Rows, error: NDArray[np.float64], judged: NDArray[np.int64]) -> Floats:
        """Scores `(streams,)` of one error a channel, which is then remembered. `judged` are there already."""
        begun = (judged >= 0)[:, None]  # before, nothing had been forecast for the row
        smoothed = self._smoothed[rows] + self._share * (error - self._smoothed[rows])
        mean, variance = self._mean[rows], self._variance[rows]
        distance = smoothed - mean
        squared = (np.square(distance) / np.maximum(variance, self._least_variance)).max(axis=1)  # the farthest channel
        share = 1 / np.minimum(np.maximum(judged + 1, 1), self._memory)[:, None]
        self._smoothed[rows] = np.where(begun, smoothed, 0)
        self._mean[rows] = np.where(begun, mean + share * distance, 0)
        self._variance[rows] = np.where(begun, (1 - share) * (variance + share * np.square(distance)), 0)
        score = np.minimum(np.maximum(-(log10_tail(squared) + self._allowance) / DECADES, 0), 1)
        return np.where(judged >= self._warm_up, score, 0).astype(np.float32)


def log10_tail(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """The decimal logarithm of how likely a normal value is farther from its mean than this.

    `squared` is the distance in deviations, squared.
    """
    x = np.sqrt(squared / 2)
    t = 1 / (1 + x / 2)
    return np.asarray((np.log(t) - squared / 2 + np.polyval(_ERFC, t)) / math.log(10))
