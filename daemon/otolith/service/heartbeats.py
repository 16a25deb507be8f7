"""Heartbeats: whose status is due. Each once a second; those of many are spread over it, rather than all at once."""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

PERIOD_S = 1.0
SLOTS = 20  # a second: a wake-up costs more than a status, so near ones share one
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples, modulo one, leave no large hole however many there are

T = TypeVar("T")


class Heartbeats(Generic[T]):
    """Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, T]] = []  # a heap
        self._added = 0
        self._gone: set[int] = set()
        self._numbers: dict[T, int] = {}

    def add(self, who: T, now_s: float) -> None:
        """The first heartbeat comes within a second, the others a second apart."""
        number, self._added = self._added, self._added + 1
        self._numbers[who] = number
        ahead_s = PERIOD_S - number * GOLDEN % 1
        heapq.heappush(self._due, (math.ceil((now_s + ahead_s) * SLOTS) / SLOTS, number, who))

    def remove(self, who: T) -> None:
        """No more heartbeats."""
        self._gone.add(self._numbers.pop(who))

    @property
    def next_s(self) -> float:
        """When the next one is due; infinity where there is none."""
        return self._due[0][0] if self._due else math.inf

    def take(self, now_s: float) -> list[T]:
        """Whose heartbeat is due; after a stall each comes once, not as often as it was missed."""
        due: list[T] = []
        while self._due and self._due[0][0] <= now_s:
            due_s, number, who = self._due[0]
            if number in self._gone:
                heapq.heappop(self._due)
                self._gone.remove(number)
                continue
            due.append(who)
            heapq.heapreplace(self._due, (due_s + PERIOD_S * math.floor((now_s - due_s) / PERIOD_S + 1), number, who))
        return due
