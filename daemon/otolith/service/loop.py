"""The loop: blocks from reader threads, through their listeners, to the sinks; a heartbeat every second.

One wake-up serves every stream that has something. Handed all it needs, so that a test drives it with arrays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from threading import Event, Thread

from otolith.errors import OtolithError
from otolith.service.inbox import Inbox, Shelf
from otolith.service.listener import Listener
from otolith.service.systemd import notify
from otolith.sinks.sink import Sink
from otolith.sources.source import Source
from otolith.wire.messages import Message

HEARTBEAT_S = 1.0
HELD_S = 2.0
READERS_END_S = 0.3  # a reader that hangs (a frozen device) is left behind

log = logging.getLogger(__name__)


class Loop:
    """Runs named listeners on their sources until all have ended, one has failed, or `stop` is called."""

    def __init__(self, sources: list[Source], listeners: list[Listener], names: list[str], sinks: list[Sink]) -> None:
        self._sources, self._listeners, self._names, self._sinks = sources, listeners, names, sinks
        self._stop = Event()
        self._inbox = Inbox([Shelf(max(1, round((source.rate or 100) * HELD_S)), source.live) for source in sources])
        self._running = set(range(len(sources)))
        self._failure: OtolithError | None = None
        self._started_s = 0.0
        self._frames_told = 0
        self._is_ready = False

    def stop(self) -> None:
        """End soon: what has been taken in is still processed and published. Safe in a signal handler's thread."""
        self._stop.set()
        self._inbox.wake()

    def run(self) -> None:
        """Raises what ended a source, once everything before it is published."""
        self._started_s = time.monotonic()
        readers = [Thread(target=self._read, args=(number,), daemon=True) for number in self._running]
        for reader in readers:
            reader.start()
        next_beat_s = self._started_s + HEARTBEAT_S
        while self._running and not self._stop.is_set() and self._failure is None:
            self._serve(max(0.0, next_beat_s - time.monotonic()))
            if time.monotonic() >= next_beat_s:
                self._beat()
                while next_beat_s <= time.monotonic():  # one heartbeat after a stall, not all that were missed
                    next_beat_s += HEARTBEAT_S
        self._finish(readers)

    def _read(self, number: int) -> None:
        """A reader thread: one source's blocks, into the inbox."""
        error: Exception | None = None
        try:
            for block in self._sources[number].blocks(self._stop):
                self._inbox.put(number, block, self._stop)
        except Exception as caught:  # noqa: BLE001 - whatever ends a reader must reach the loop
            error = caught
        self._inbox.end(number, error)

    def _serve(self, timeout_s: float) -> None:
        taken, ended = self._inbox.take(timeout_s)
        for number, blocks in taken:
            for block in blocks:
                self._publish(self._listeners[number].take(block))
        if taken and not self._is_ready:
            self._is_ready = True
            notify("READY=1", f"STATUS=listening on {len(self._running)} stream(s)")
        for number, error in ended:
            self._end(number, error)

    def _end(self, number: int, error: Exception | None) -> None:
        self._running.discard(number)
        self._publish(self._listeners[number].close())
        if error is None:
            log.info("stream %s: the input ended", self._names[number])
        elif isinstance(error, OtolithError):
            self._failure = self._failure or type(error)(f"stream {self._names[number]!r}: {error}")
        else:
            raise error

    def _beat(self) -> None:
        """Publish each stream's status; feed the watchdog if frames flowed since the last time."""
        uptime_s = time.monotonic() - self._started_s
        for number, listener in enumerate(self._listeners):
            listener.drops = self._inbox.drops(number)
            self._publish([listener.status(uptime_s)])
        frames = sum(listener.frames for listener in self._listeners)
        if frames > self._frames_told:
            notify("WATCHDOG=1", f"STATUS=listening on {len(self._running)} stream(s), {frames} frames")
        self._frames_told = frames

    def _finish(self, readers: list[Thread]) -> None:
        """The last words: what was taken in, what was active, and each stream's accounts."""
        notify("STOPPING=1")
        self._stop.set()
        deadline_s = time.monotonic() + READERS_END_S
        for reader in readers:
            reader.join(max(0.0, deadline_s - time.monotonic()))
        self._serve(0.0)
        for number in sorted(self._running):
            self._publish(self._listeners[number].close())
        self._beat()
        if self._failure is not None:
            raise self._failure

    def _publish(self, messages: Iterable[Message]) -> None:
        for message in messages:
            for sink in self._sinks:
                sink.take(message)
