"""The pulse: when a sensor's next row is due and how far apart rows are, by its own clock.

A tracking filter of growing memory (an alpha-beta filter; Brookner, Tracking and Kalman Filtering Made Easy, 1998), so
that a row is held against the moment at which it was to come, and not against the row before it, whose time jitters as
well.
"""

from __future__ import annotations

TAKEN_FOR = 8  # steps that the expected period counts for, when the first rows come
SETTLED = 64  # steps that are remembered
WIDEST = 4.0  # times faster or slower than expected: no period beyond is believed
BOUND = 0.8  # periods that a row may be late: five times a deviation of 15 % ...
DEVIATIONS = 6.0  # ... and where rows jitter more, so many mean deviations
LENIENCE = 1.5  # times a lateness that proved to be no loss is borne from then on ...
FADING = 1 - 1 / 100_000  # ... forgotten over so many rows


class Pulse:
    """Begins with a row at `time_s`, and the period that is expected."""

    def __init__(self, time_s: float, period_s: float) -> None:
        self.period_s = period_s
        self.due_s = time_s + period_s
        self._narrowest_s, self._widest_s = period_s / WIDEST, period_s * WIDEST
        self._steps = TAKEN_FOR
        self._deviation_s = self._borne_s = 0.0

    @property
    def bound_s(self) -> float:
        """How late a row may be before others must be missing."""
        return max(BOUND * self.period_s, DEVIATIONS * self._deviation_s, self._borne_s)

    def skip(self, rows: int) -> None:
        """So many rows come without saying when, or not at all."""
        self.due_s += rows * self.period_s

    def follow(self, time_s: float, rows: int = 1) -> None:
        """A row has come that was due; `rows` since the last of which this was told."""
        ahead_s = time_s - self.due_s
        steps = self._steps = min(self._steps + 1, SETTLED)
        whole = steps * (steps + 1)
        self._deviation_s += (abs(ahead_s) - self._deviation_s) / steps
        period_s = self.period_s + 6 / whole * ahead_s / rows
        self.period_s = min(max(period_s, self._narrowest_s), self._widest_s)
        self.due_s += (4 * steps - 2) / whole * ahead_s + self.period_s
        self._borne_s *= FADING

    def bear(self, late_s: float) -> None:
        """A row was so late, and no other missing: it was jitter."""
        self._borne_s = max(self._borne_s, LENIENCE * late_s)
