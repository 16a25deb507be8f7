"""The flight recorder: streams' input and what was told of it go to disk, in a thread of their own.

The loop leaves blocks and messages in a bounded queue and never waits. Where the disk is too slow for that, or full, a
recording has a hole that its next segment tells of; predictions lose nothing.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from otolith.inference.framing import Samples
from otolith.settings import RecorderSettings
from otolith.sinks.archive import Archive, Begin, Item, size_of
from otolith.sinks.segment import Ending, Heard
from otolith.wire.messages import Message

WAKE_S = 0.2  # how often is looked what waits
FLUSH_S = 1.0  # how often it is written: each time, files are opened and closed
QUEUE_BYTES = 1 << 26
ITEM_BYTES = 300  # what a block or a message costs beside its samples
RETRY_S = 1.0  # behind a disk that failed
SLOW_S = 2.0  # a write that takes longer is told
SLOW_BYTES_S = 1e7  # and one of so many bytes, a second later
LAST_S = 0.5  # for the last words


@dataclass(slots=True)
class Disk:
    """What is told of the disk; from the recorder's thread."""

    ail: Callable[[str], None] = lambda _reason: None
    mend: Callable[[], None] = lambda: None
    is_mine: Callable[[str], bool] = field(default=lambda _stream: True)  # of several workers, whose streams are whose


class Recorder:
    """A sink that also takes blocks. All but the thread's work is to be called in the loop's thread."""

    def __init__(self, settings: RecorderSettings, disk: Disk) -> None:
        self._disk = disk
        self._archive = Archive(settings, disk.is_mine, self._expect)
        self._queue: deque[tuple[str, Item]] = deque()
        self._put_bytes = self._taken_bytes = 0  # each is written by one thread alone
        self._open: set[str] = set()
        self._missed: dict[str, int] = {}
        self._known_breaks = 0
        self._retry_at_s = 0.0
        self._is_ill = False
        self._flushed_s = -math.inf
        self._overdue_s = math.inf  # from when on the disk does not answer
        self._stop = Event()
        self._thread = Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def root(self) -> Path:
        """Where everything is."""
        return self._archive.root

    def is_open(self, stream: str) -> bool:
        """Is a segment of the stream being recorded, and whole so far?"""
        if self._archive.breaks != self._known_breaks:
            self._known_breaks = self._archive.breaks
            self._open.clear()
        return stream in self._open

    @property
    def has_room(self) -> bool:
        """Is there any sense in beginning a segment?"""
        return self._put_bytes - self._taken_bytes < QUEUE_BYTES // 2 and time.monotonic() >= self._retry_at_s

    def begin(self, stream: str, begin: Begin) -> None:
        """The stream's next segment begins."""
        if self._put(stream, begin, 0):
            self._open.add(stream)
        else:
            self.miss(stream, begin.missed)

    def hear(self, stream: str, heard: Heard, samples: Samples) -> None:
        """Record a block of a stream; where it cannot be, it is missed until the next segment."""
        if not (self.is_open(stream) and self._put(stream, (heard, samples), samples.nbytes)):
            self.miss(stream, len(samples))

    def miss(self, stream: str, samples: int) -> None:
        """Count samples that are not recorded."""
        self._watch()
        self._missed[stream] = self._missed.get(stream, 0) + samples

    def take_missed(self, stream: str) -> int:
        """How many samples of a stream were not recorded since this was asked last."""
        return self._missed.pop(stream, 0)

    def take(self, message: Message) -> None:
        """Record what was published of a stream whose segment is open."""
        if message.stream in self._open:
            self._put(message.stream, message, size_of(message))

    def end(self, stream: str, how: Ending) -> None:
        """The stream's segment is over."""
        if stream in self._open:
            self._put(stream, how, 0)
            self._open.discard(stream)

    def close(self) -> None:
        """Write what waits, for half a second at most."""
        self._stop.set()
        self._thread.join(LAST_S)

    def _watch(self) -> None:
        """A disk that hangs raises nothing: whoever brings more tells of it."""
        if time.monotonic() > self._overdue_s:
            self._ail("the disk does not answer")

    def _put(self, stream: str, item: Item, size: int) -> bool:
        self._watch()
        if self._put_bytes - self._taken_bytes > QUEUE_BYTES:
            self._open.discard(stream)  # a message or a block is missing: what follows would not be what was heard
            return False
        self._put_bytes += size + ITEM_BYTES
        self._queue.append((stream, item))
        return True

    def _run(self) -> None:
        import soundfile  # noqa: F401 - now, for it takes longer than there is at the end

        self._guarded(self._archive.tidy)
        while not self._stop.wait(WAKE_S):
            self._guarded(self._write)
        self._flushed_s = -math.inf
        self._guarded(self._write)
        while self._archive.has_closed:
            self._guarded(self._archive.finish)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Where the disk fails, all open segments stay as they are, and others begin once it may work again."""
        self._expect(0)
        try:
            work()
        except OSError as error:
            self._ail(error.strerror or str(error))
            self._retry_at_s = time.monotonic() + RETRY_S  # first: whoever sees the break waits for it
            self._archive.break_off()
            for _ in range(len(self._queue)):  # it belongs to segments that will have begun anew
                self._archive.drop(*self._next())
        self._overdue_s = math.inf

    def _expect(self, size: int) -> None:
        self._overdue_s = time.monotonic() + SLOW_S + size / SLOW_BYTES_S

    def _ail(self, reason: str) -> None:
        self._is_ill = True
        self._disk.ail(f"{self.root}: {reason}")

    def _write(self) -> None:
        """All that waits; then what there is no room for any more goes."""
        archive, written = self._archive, 0
        for _ in range(len(self._queue)):
            self._expect(0)
            written += archive.take(*self._next())
        if time.monotonic() - self._flushed_s > FLUSH_S:
            self._flushed_s = time.monotonic()
            written += archive.flush()
        archive.keep_quota()
        while archive.has_closed and not self._stop.is_set():  # or what is not written at all comes first
            archive.finish()
        archive.sweep()
        if self._is_ill and (written or self._works_again()):
            self._is_ill = False
            self._disk.mend()

    def _works_again(self) -> bool:
        """Does the disk take anything? Where there is something to record, that shows it. Raises `OSError`."""
        if self._archive.is_open or time.monotonic() < self._retry_at_s + RETRY_S:
            return False
        self._archive.try_out()
        return True

    def _next(self) -> tuple[str, Item]:
        stream, item = self._queue.popleft()
        self._taken_bytes += size_of(item) + ITEM_BYTES
        return stream, item
