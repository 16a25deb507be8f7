"""Threads beside the loop: each does its work until that ends, or until it is told to stop; how it ended is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

TURN_S = 0.0005

Work = Callable[[Event], None]


@contextmanager
def yielding() -> Iterator[None]:
    """While one thread computes, others are let in after half a millisecond instead of five.

    A wake-up of the loop lets go of the interpreter at each call of the runtime, and would wait as often.
    """
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)


class Threads:
    """Started with `run`, or at once behind it. `finish` is called in a thread whose work is over, with its error."""

    def __init__(self, finish: Callable[[str, Exception | None], None]) -> None:
        self._finish = finish
        self._threads: list[Thread] = []
        self._stops: dict[Thread, Event] = {}
        self._is_running = False

    def start(self, what: str, work: Work) -> Thread:
        """Have `work` done; `what` names it."""
        stop = Event()
        thread = Thread(target=self._attend, args=(what, work, stop), name=what.replace("'", ""), daemon=True)
        self._threads.append(thread)
        self._stops[thread] = stop
        if self._is_running:
            thread.start()
        return thread

    def run(self) -> None:
        """Begin with what was started until now."""
        self._is_running = True
        for thread in self._threads:
            thread.start()

    def stop(self, thread: Thread) -> None:
        """Tell one to end. From any thread."""
        self._stops[thread].set()

    def stop_all(self) -> None:
        """Tell all to end. Safe in a signal handler."""
        for stop in list(self._stops.values()):
            stop.set()

    def join(self, timeout_s: float) -> None:
        """Wait for them; one that hangs (a frozen device) is left behind."""
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))

    def _attend(self, what: str, work: Work, stop: Event) -> None:
        error: Exception | None = None
        try:
            work(stop)
        except Exception as caught:  # noqa: BLE001 - whatever ends a thread must reach the loop
            error = caught
        self._finish(what, error)
