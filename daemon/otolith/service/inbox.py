"""The inbox: where other threads leave blocks and the loop takes all there are at one wake-up.

It is bounded for each stream. A source that can wait is made to; a live one loses its oldest blocks, and the next block
tells how many samples that was. Streams come and go while the loop runs.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Event, RLock

from msgspec.structs import replace

from otolith.sources.source import LATE, Block


@dataclass(slots=True, eq=False)
class Shelf:
    """One stream's place in the inbox. `bound` is in samples; `drops` counts blocks thrown away."""

    name: str
    bound: int
    live: bool
    blocks: deque[Block] = field(default_factory=deque)
    samples: int = 0
    lost: int = 0  # thrown away since the last block was taken
    drops: int = 0
    is_closed: bool = False

    @property
    def is_full(self) -> bool:
        return self.samples >= self.bound

    def add(self, block: Block) -> None:
        self.blocks.append(block)
        self.samples += len(block.samples)
        while self.samples >= self.bound and self.live and len(self.blocks) > 1:
            oldest = self.blocks.popleft()
            self.samples -= len(oldest.samples)
            self.lost += oldest.lost + len(oldest.samples)
            self.drops += 1

    def take_all(self) -> list[Block]:
        if len(self.blocks) == 1 and not self.lost:
            self.samples = 0
            return [self.blocks.popleft()]
        taken = list(self.blocks)
        if taken and self.lost:
            taken[0] = replace(taken[0], lost=taken[0].lost + self.lost, reason=LATE)
            self.lost = 0
        self.blocks.clear()
        self.samples = 0
        return taken


@dataclass(slots=True)
class Taken:
    """What one wake-up finds: blocks by stream, then the streams that ended behind them, then the work that is over.

    `since_s` is when the first of the blocks came, by the monotonic clock; infinity where there is none.
    """

    blocks: list[tuple[Shelf, list[Block]]]
    ended: list[Shelf]
    finished: list[tuple[str, Exception | None]]
    since_s: float = math.inf


class Inbox:
    """Blocks of any number of streams, between the threads that bring them and one loop."""

    def __init__(self) -> None:
        self._filled: dict[Shelf, None] = {}  # those with blocks, in the order in which they came
        self._ended: list[Shelf] = []
        self._finished: list[tuple[str, Exception | None]] = []
        self._arrived = 0  # blocks since the last take
        self._since_s = math.inf  # when the first of them came
        self._enough = 1
        self._woken = False
        lock = RLock()  # a signal handler may wake the very thread that holds it
        self._changed, self._room = Condition(lock), Condition(lock)

    def put(self, shelf: Shelf, block: Block, stop: Event) -> None:
        """Leave a block. Waits for room where the source can wait, until `stop`. Raises `ValueError` behind the end."""
        with self._changed:
            if shelf.is_closed:
                raise ValueError(f"stream {shelf.name!r} has ended; add it again")
            while shelf.is_full and not shelf.live and not stop.is_set():
                self._room.wait(0.2)
            shelf.add(block)
            self._filled[shelf] = None
            self._count(1)
            if self._arrived >= self._enough:  # a wake-up costs more than a frame: not for each block of many
                self._changed.notify()

    def put_live(self, blocks: Iterable[tuple[Shelf, Sequence[Block]]]) -> None:
        """Leave blocks of streams that never wait, all at once. Raises `ValueError` behind a stream's end."""
        with self._changed:
            for shelf, those in blocks:
                if shelf.is_closed:
                    raise ValueError(f"stream {shelf.name!r} has ended; add it again")
                for block in those:
                    shelf.add(block)
                self._filled[shelf] = None
                self._count(len(those))
            if self._arrived >= self._enough:
                self._changed.notify()

    def end(self, shelf: Shelf) -> None:
        """Tell that a stream has no more blocks; telling it twice does no harm."""
        with self._changed:
            if not shelf.is_closed:
                shelf.is_closed = True
                self._ended.append(shelf)
                self._changed.notify()

    def finish(self, name: str, error: Exception | None) -> None:
        """Tell that a thread's work is over, and of the error that ended it."""
        with self._changed:
            self._finished.append((name, error))
            self._changed.notify()

    def wake(self) -> None:
        """Make a waiting `take` return at once."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def take(self, timeout_s: float, enough: int = 1) -> Taken:
        """All there is; waits up to `timeout_s` for `enough` blocks, or for an end."""
        with self._changed:
            self._enough = enough
            self._changed.wait_for(self._is_worth_a_look, timeout_s)
            blocks = [(shelf, shelf.take_all()) for shelf in self._filled]
            taken = Taken(blocks, self._ended, self._finished, self._since_s)
            self._woken, self._arrived, self._since_s, self._enough = False, 0, math.inf, 1
            self._filled, self._ended, self._finished = {}, [], []
            self._room.notify_all()
            return taken

    def _count(self, blocks: int) -> None:
        if not self._arrived:
            self._since_s = time.monotonic()
        self._arrived += blocks

    def _is_worth_a_look(self) -> bool:
        return self._woken or bool(self._ended or self._finished) or self._arrived >= self._enough
