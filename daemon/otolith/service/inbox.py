"""The inbox: where reader threads leave blocks and the loop takes all there are at one wake-up.

It is bounded for each stream. A source that can wait is made to; a live one loses its oldest blocks, and the next block
tells how many samples that was.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from threading import Condition, Event

from otolith.sources.source import Block

LATE = "the daemon was late"


@dataclass(slots=True)
class Shelf:
    """One stream's place in the inbox. `bound` is in samples; `drops` counts blocks thrown away."""

    bound: int
    live: bool
    blocks: deque[Block] = field(default_factory=deque)
    samples: int = 0
    lost: int = 0  # thrown away since the last block was taken
    drops: int = 0

    @property
    def is_full(self) -> bool:
        return self.samples >= self.bound

    def add(self, block: Block) -> None:
        self.blocks.append(block)
        self.samples += len(block.samples)
        while self.live and self.is_full and len(self.blocks) > 1:
            oldest = self.blocks.popleft()
            self.samples -= len(oldest.samples)
            self.lost += oldest.lost + len(oldest.samples)
            self.drops += 1

    def take_all(self) -> list[Block]:
        taken = list(self.blocks)
        if taken and self.lost:
            taken[0] = replace(taken[0], lost=taken[0].lost + self.lost, reason=LATE)
            self.lost = 0
        self.blocks.clear()
        self.samples = 0
        return taken


class Inbox:
    """Blocks of numbered streams, between one reader thread each and one loop."""

    def __init__(self, shelves: list[Shelf]) -> None:
        self._shelves = shelves
        self._ended: list[tuple[int, Exception | None]] = []
        self._woken = False
        self._changed = Condition()

    def put(self, stream: int, block: Block, stop: Event) -> None:
        """Leave a block. Waits for room where the source can wait, until `stop`."""
        shelf = self._shelves[stream]
        with self._changed:
            while shelf.is_full and not shelf.live and not stop.is_set():
                self._changed.wait(0.2)
            shelf.add(block)
            self._changed.notify_all()

    def end(self, stream: int, error: Exception | None) -> None:
        """Tell that a stream has no more blocks, and of the error that ended it."""
        with self._changed:
            self._ended.append((stream, error))
            self._changed.notify_all()

    def wake(self) -> None:
        """Make a waiting `take` return at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def take(self, timeout_s: float) -> tuple[list[tuple[int, list[Block]]], list[tuple[int, Exception | None]]]:
        """All blocks by stream, and the streams that ended behind them; waits up to `timeout_s` for the first."""
        with self._changed:
            if not (self._woken or self._ended or any(shelf.blocks for shelf in self._shelves)):
                self._changed.wait(timeout_s)
            self._woken = False
            taken = [(stream, shelf.take_all()) for stream, shelf in enumerate(self._shelves) if shelf.blocks]
            ended, self._ended = self._ended, []
            self._changed.notify_all()
            return taken, ended

    def drops(self, stream: int) -> int:
        """Blocks of a stream that were thrown away so far."""
        return self._shelves[stream].drops
