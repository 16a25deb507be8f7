"""The shortfall: what a sound device has kept to itself, by the clock.

A sound server whose buffer is full drops samples without a word: no flag is set, and the capture times that PortAudio
tells run on. But everything behind samples that never came is later than usual, and stays so.
"""

from __future__ import annotations

import math

PERIOD_S = 1.0  # of blocks that come one behind the other: the least late of them is how late the device is
PAUSE_S = 0.25  # behind one that is longer, more may be waiting to be brought
FLAT_S = 0.02  # a device that gets less late by more in a period is still making up
LEAST_S = 0.1  # less may be a device that takes its time


class Shortfall:
    """Of one device, from when it was opened. Times are seconds of a clock that nobody sets."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._samples = 0  # that came, or are known to be lost
        self._usual_s: float | None = None  # when sample 0 would have come, as of late: a device's own clock drifts
        self._before_s = self._lowest_s = math.inf  # the same, in the period before and in this one
        self._began_s = self._heard_s = -math.inf

    def missing(self, now_s: float, samples: int) -> int:
        """How many samples are missing that nobody told of, as a block comes with so many, or as many are known lost.

        It shows two seconds after the device has made up for what it still had.
        """
        self._samples += samples
        late_s = now_s - self._samples / self._rate
        if now_s - self._heard_s > PAUSE_S:
            self._begin(now_s, math.inf)
        self._heard_s, self._lowest_s = now_s, min(self._lowest_s, late_s)
        if now_s - self._began_s < PERIOD_S:
            return 0
        before_s, lowest_s = self._before_s, self._lowest_s
        self._begin(now_s, lowest_s)
        if math.isinf(before_s) or lowest_s < before_s - FLAT_S:
            return 0
        return self._compare(min(before_s, lowest_s))

    def _compare(self, settled_s: float) -> int:
        if self._usual_s is None or settled_s - self._usual_s < LEAST_S:
            self._usual_s = settled_s
            return 0
        missing = round((settled_s - self._usual_s) * self._rate)
        self._samples += missing
        self._before_s = self._usual_s
        return missing

    def _begin(self, now_s: float, before_s: float) -> None:
        self._began_s, self._before_s, self._lowest_s = now_s, before_s, math.inf
