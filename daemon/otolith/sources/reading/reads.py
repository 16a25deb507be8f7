"""Reads: bytes from a file as they come, and what is told while none do."""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event

READ_BYTES = 1 << 16
STOP_CHECK_S = 0.2
STALLED_S = 1.5
PERIODS = 5.0  # of a sensor that is slower than that, as a meter: so many rows must be missing
PAUSES = 8
LONGEST_S = 300.0


@dataclass(frozen=True, slots=True)
class Silence:
    """No bytes come, for `reason`. `cuts`: whoever sent them is gone, and what was begun will not be ended."""

    reason: str
    cuts: bool = False


Read = bytes | Silence


class Patience:
    """How long bytes may stay away before that is told: once, until some come again.

    Who sends ten seconds of rows at a time is told as silent once, and known from then on.
    """

    def __init__(self, rows_per_s: float = 0.0, now_s: float | None = None) -> None:
        self._shortest_s = max(STALLED_S, PERIODS / rows_per_s if rows_per_s else 0.0)
        self._pauses: deque[float] = deque([0.0], PAUSES)
        self._heard_s = time.monotonic() if now_s is None else now_s
        self._is_told = False

    def heard(self, now_s: float) -> None:
        """Something came."""
        self._pauses.append(now_s - self._heard_s)
        self._heard_s, self._is_told = now_s, False

    def is_over(self, now_s: float) -> bool:
        """Whether there is a silence to be told of; it is, by this."""
        longest_s = min(LONGEST_S, max(self._shortest_s, 2 * max(self._pauses)))
        if self._is_told or now_s - self._heard_s < longest_s:
            return False
        self._is_told = True
        return True


class Endless(Patience):
    """Of what has no clock, as text: silence says nothing."""

    def is_over(self, now_s: float) -> bool:  # noqa: ARG002
        return False


def read_until_closed(fd: int, name: str, patience: Patience, stop: Event) -> Iterator[Read]:
    """Whatever a pipe holds, as it comes, until its writer closes it or `stop` is set."""
    poller = select.poll()
    poller.register(fd, select.POLLIN | select.POLLHUP)
    while not stop.is_set():
        if poller.poll(STOP_CHECK_S * 1000):
            data = os.read(fd, READ_BYTES)
            if not data:
                return
            patience.heard(time.monotonic())
            yield data
        elif patience.is_over(time.monotonic()):
            yield Silence(f"{name}: stalled")
