"""The timeline: what rows' own times tell of rows that are missing, came late, or came twice.

Neither jitter nor drift may look like a loss, and a clock that is set is one break, however far it jumps.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from otolith.sources.reading.pulse import Pulse

MISSING_ROWS = "rows are missing by their times"
LATE_ROWS = "rows came late or twice"
CLOCK_SET = "the sensor's clock was set"

BACK_S, AHEAD_S = 2.0, 60.0  # a clock that jumps further was set; as of streams from the network
BACK_ROWS, AHEAD_ROWS = 5.0, 20.0  # ... and of slow sensors, so many rows
CAUGHT_UP, DOUBTED = 0.5, 8  # periods, rows: where one behind a hole comes so early, it was late and nothing lost
AS_PACE = 8  # holes of one size without a row between them are another pace
ALIKE = 1.5
HOLES = 16


class Placed(NamedTuple):
    """Where a row belongs: is it to be heard, how many rows were lost before it that nobody has told of, and why."""

    is_heard: bool
    lost: int = 0
    reason: str = ""


@dataclass(slots=True)
class Hole:
    """Rows between two moments that were told as lost."""

    begin_s: float
    end_s: float
    rows: int


HEARD = Placed(True)


class Timeline:
    """Places rows by their times, in seconds of the sensor's clock; `rate` is what its card says, 0 if it does not.

    `last_s` is the time of the last row heard; None before the first.
    """

    def __init__(self, rate: float) -> None:
        self.last_s: float | None = None
        self._period_s = 1 / rate if rate else 0.0  # as expected
        self._pulse = Pulse(0.0, self._period_s)
        self._holes: deque[Hole] = deque(maxlen=HOLES)
        self._leaps: list[float] = []  # steps over a hole, one behind the other
        self._late_s, self._doubt = 0.0, 0  # how late a row was that was taken for a hole, and rows until that is sure
        self._alike = 1  # rows since the clock moved

    def place(self, time_s: float, told: int, passed_s: float, *, is_same: bool = False) -> Placed:
        """Where a row of `time_s` belongs; `told` rows were told as lost since the last one heard, which came
        `passed_s` ago by our clock. `is_same`: it holds the very values of the last one.
        """
        if self.last_s is None:
            self._begin(time_s, self._period_s)
            return HEARD
        step_s = time_s - self.last_s
        if not self._period_s and step_s > 0:
            self._begin(self.last_s, step_s)
            self._period_s = step_s
        if step_s < 0 or (step_s == 0 and is_same):
            if -step_s <= max(BACK_S, BACK_ROWS * self._pulse.period_s):
                return self._late(time_s)
            return self._set(time_s, told, passed_s)
        if self._doubt:
            self._doubt_hole(time_s)
        if step_s == 0:  # a coarse clock, or a burst: the next that differs tells of all of them
            self._pulse.skip(1)
            self._alike += 1
            return HEARD
        return self._rise(time_s, told, passed_s)

    def pass_by(self, rows: int) -> None:
        """Rows that say no time were heard, where the next were due."""
        if self.last_s is not None and rows:
            self.last_s = max(self.last_s, self._pulse.due_s + (rows - 1) * self._pulse.period_s)
            self._pulse.skip(rows)

    def _rise(self, time_s: float, told: int, passed_s: float) -> Placed:
        """A row behind the last one."""
        pulse = self._pulse
        if time_s - pulse.due_s > pulse.bound_s:
            return self._leap(time_s, told, passed_s)
        self._heard(time_s)
        return HEARD

    def _leap(self, time_s: float, told: int, passed_s: float) -> Placed:
        """A row so far behind that others are missing before it, or that its clock was set."""
        assert self.last_s is not None  # noqa: S101 - nothing is missed before a first row
        pulse, leaps = self._pulse, self._leaps
        ahead_s = time_s - pulse.due_s
        bound_s = max(AHEAD_S, AHEAD_ROWS * pulse.period_s)
        if ahead_s > bound_s + 1.5 * passed_s:
            return self._set(time_s, told, passed_s)
        missing = round(ahead_s / pulse.period_s)
        self._holes.append(Hole(self.last_s, time_s, missing))
        leaps.append(time_s - self.last_s)
        if len(leaps) >= AS_PACE and max(leaps) < ALIKE * min(leaps):
            self._begin(time_s, sum(leaps) / len(leaps))
        else:
            pulse.skip(missing)
            self._heard(time_s)
            self._leaps = leaps[-AS_PACE:]
            self._late_s, self._doubt = missing * pulse.period_s, min(missing + 2, DOUBTED)
        lost = max(0, missing - told)
        return Placed(True, lost, MISSING_ROWS) if lost else HEARD

    def _doubt_hole(self, time_s: float) -> None:
        """Rows that were only held up come one upon the other behind what looked like a hole."""
        self._doubt -= 1
        if time_s - self._pulse.due_s < -CAUGHT_UP * self._pulse.period_s:
            self._pulse.bear(self._late_s)
            self._pulse.due_s -= self._late_s
            self._doubt = 0

    def _late(self, time_s: float) -> Placed:
        """A row of a time that is over: it may have been told as lost already."""
        for hole in self._holes:
            if hole.begin_s < time_s < hole.end_s and hole.rows:
                hole.rows -= 1
                return Placed(False)
        return Placed(False, 1, LATE_ROWS)

    def _set(self, time_s: float, told: int, passed_s: float) -> Placed:
        """The sensor's clock tells nothing of what passed; ours does."""
        period_s = self._pulse.period_s
        lost = max(0, round(passed_s / period_s) - 1 - told) if period_s else 0
        self._holes.clear()
        self._begin(time_s, period_s)
        return Placed(True, lost, CLOCK_SET)

    def _begin(self, time_s: float, period_s: float) -> None:
        self._pulse = Pulse(time_s, period_s)
        self.last_s, self._leaps, self._doubt, self._alike = time_s, [], 0, 1

    def _heard(self, time_s: float) -> None:
        self._pulse.follow(time_s, self._alike)
        self.last_s, self._leaps, self._alike = time_s, [], 1
