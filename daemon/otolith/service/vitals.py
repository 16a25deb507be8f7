"""Vitals: what one stream came to, how loud it is and how fast it comes, for its heartbeats."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from otolith.inference.events import Event, Forecasts, Gap, Posteriors
from otolith.inference.level import Level
from otolith.inference.utterance import ENDED

RATE_HEARTBEATS = 11  # the rate is measured over so many: ten seconds


class Signal(NamedTuple):
    """Of the sound since the last heartbeat: its peak and its mean, None where there was none; and how long it has been
    clipped, in all, and held to one value, until now."""

    level_dbfs: float | None
    offset: float | None
    clipped_s: int
    flat_s: int


class Vitals:
    """Counts since the stream came: frames stepped, gaps told, and samples (or rows) that are in those."""

    def __init__(self) -> None:
        self.frames = self.gaps = self.lost = 0
        self._told_frames = 0  # at the last heartbeat
        self._clipped_s = self._flat_s = 0
        self._counts: deque[tuple[float, int]] = deque(maxlen=RATE_HEARTBEATS)  # when, and how many frames by then

    def count(self, events: Iterable[Event]) -> None:
        """Take in what was told of the stream."""
        for event in events:
            if isinstance(event, Posteriors | Forecasts):
                self.frames += len(event.values)
            elif isinstance(event, Gap) and event.reason != ENDED:
                self.gaps += 1
                self.lost += event.lost

    def listen(self, level: Level, *, is_sound: bool) -> Signal:
        """Once a heartbeat, of what was stepped since the last one."""
        is_heard, self._told_frames = is_sound and self.frames > self._told_frames, self.frames
        self._clipped_s += is_heard and level.is_clipped
        self._flat_s = self._flat_s + 1 if is_heard and level.is_flat else 0
        if not is_heard:
            return Signal(None, None, self._clipped_s, self._flat_s)
        level_dbfs = round(20 * math.log10(max(level.peak, 1e-5)), 1)
        return Signal(level_dbfs, round(level.offset, 5), self._clipped_s, self._flat_s)

    def frames_per_s(self, now_s: float) -> float | None:
        """Once a heartbeat: over the last of them; None before there are two."""
        self._counts.append((now_s, self.frames))
        since_s, before = self._counts[0]
        return (self.frames - before) / (now_s - since_s) if now_s > since_s else None
