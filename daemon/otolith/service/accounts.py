"""The accounts: what all streams of a daemon came to and cost together, second by second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from otolith.service.heartbeats import PERIOD_S
from otolith.service.inbox import Shelf
from otolith.service.listener import Listener


@dataclass(slots=True)
class Sums:
    """Counts of streams, added up."""

    frames: int = 0
    gaps: int = 0
    lost: int = 0
    drops: int = 0
    heard_s: float = 0.0

    def add(self, shelf: Shelf, listener: Listener) -> None:
        self.frames += listener.vitals.frames
        self.gaps += listener.vitals.gaps
        self.lost += listener.vitals.lost
        self.drops += shelf.drops
        self.heard_s += listener.heard_s


class Accounts:
    """`frames`, `gaps`, `lost` and `drops` are all streams' since the start, as of the last whole second."""

    def __init__(self) -> None:
        self.started_s = self.next_s = 0.0
        self.frames = self.gaps = self.lost = self.drops = 0
        self._of_gone = Sums()
        self.busy_s = self._heard_s = 0.0
        self._factor: float | None = None

    def begin(self, now_s: float) -> None:
        self.started_s, self.next_s = now_s, now_s + PERIOD_S

    def end(self, shelf: Shelf, listener: Listener) -> None:
        """A stream's accounts are closed, and stay in the sums."""
        self._of_gone.add(shelf, listener)

    def real_time_factor(self, listeners: Iterable[Listener]) -> float:
        """Processing time over the time of what was stepped, in the last whole second or what there is of the first."""
        if self._factor is not None:
            return self._factor
        heard_s = self._of_gone.heard_s + sum(each.heard_s for each in listeners)
        return self.busy_s / heard_s if heard_s else 0.0

    def close_second(self, now_s: float, listeners: Mapping[Shelf, Listener]) -> None:
        """Begin the next second."""
        sums = replace(self._of_gone)
        for shelf, listener in listeners.items():
            sums.add(shelf, listener)
        heard_s = sums.heard_s - self._heard_s
        self.frames, self.gaps, self.lost, self.drops = sums.frames, sums.gaps, sums.lost, sums.drops
        self._heard_s = sums.heard_s
        self._factor = self.busy_s / heard_s if heard_s else 0.0
        self.busy_s = 0.0
        while self.next_s <= now_s:  # one after a stall, not all that were missed
            self.next_s += PERIOD_S
