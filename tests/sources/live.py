"""A live source read in a thread of its own, while a test writes to its other end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from threading import Event
from typing import Self

import numpy as np

from otolith.sources.source import Block, Source

DEADLINE_S = 20.0
PROMPT_S = 6.0  # what takes two seconds, on a machine that has other work


class Reading:
    """What a source has given so far: `blocks`."""

    def __init__(self, source: Source) -> None:
        self.blocks: list[Block] = []
        self.times_s: list[float] = []  # when each came
        self.error: Exception | None = None
        self._source, self._stop = source, Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def until(self, is_enough: Callable[[Self], bool]) -> None:
        """Wait for a condition; fails where it does not come to pass."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not is_enough(self):
            assert time.monotonic() < deadline_s, self.blocks[-20:]
            assert self.error is None, self.error
            time.sleep(0.005)

    @property
    def rows(self) -> np.ndarray:
        heard = [block.samples for block in self.blocks if len(block.samples)]
        return np.concatenate(heard) if heard else np.empty(0)

    @property
    def heard(self) -> int:
        return sum(len(block.samples) for block in self.blocks)

    @property
    def lost(self) -> int:
        return sum(block.lost for block in self.blocks)

    @property
    def reasons(self) -> list[str]:
        """Why something was lost or nothing heard, each once, in order."""
        return list(dict.fromkeys(block.reason for block in self.blocks if block.reason))

    def _read(self) -> None:
        try:
            for block in self._source.blocks(self._stop):
                self.times_s.append(time.monotonic())
                self.blocks.append(block)
        except Exception as error:  # noqa: BLE001 - it is told in the test's own thread
            self.error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
