"""The flight recorder: streams' input and what was told of it go to disk, in a thread of their own.

The loop leaves blocks and messages in a bounded queue and never waits. Where the disk is too slow for that, or full, a
recording has a hole that its next segment tells of; predictions lose nothing.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from otolith.inference.framing import Samples
from otolith.settings import RecorderSettings
from otolith.sinks.segment import Ending, Heard, Opening, Segment, finish
from otolith.sinks.shelves import Standing, folder_of, outdated, remove_models, remove_until, segments
from otolith.wire.messages import Message

WAKE_S = 0.2  # how often is looked what waits
FLUSH_S = 1.0  # how often it is written: each time, files are opened and closed
QUEUE_BYTES = 1 << 26
ITEM_BYTES = 300  # what a block or a message costs beside its samples
RETRY_S = 1.0  # behind a disk that failed
SWEEP_S = 10.0  # how often what is too old is looked for
LAST_S = 0.5  # for the last words

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Begin:
    """A stream's next segment.

    `make` is called in the recorder's thread, with the name of the segment before and the samples that the disk did not
    take since.
    """

    make: Callable[[str, int], Opening]
    how: Ending  # of the segment before


Item = Begin | tuple[Heard, Samples] | Message | Ending


def size_of(item: Item) -> int:
    """Bytes of what is queued, but for what each costs anyway."""
    return item[1].nbytes if isinstance(item, tuple) else len(getattr(item, "values", b""))


@dataclass(slots=True)
class Disk:
    """What is told of the disk; from the recorder's thread."""

    ail: Callable[[str], None] = lambda _reason: None
    mend: Callable[[], None] = lambda: None
    is_mine: Callable[[str], bool] = field(default=lambda _folder: True)  # of several workers, whose folders are whose


class Recorder:
    """A sink that also takes blocks. All but the thread's work is to be called in the loop's thread."""

    def __init__(self, settings: RecorderSettings, disk: Disk) -> None:
        self.root, self._settings, self._disk = Path(settings.folder), settings, disk
        self._quota = round(settings.megabytes * 1e6)
        self._queue: deque[tuple[str, Item]] = deque()
        self._put_bytes = self._taken_bytes = 0  # each is written by one thread alone
        self._open: set[str] = set()
        self._missed: dict[str, int] = {}
        self._failures = self._known_failures = 0
        self._retry_at_s = 0.0
        self._segments: dict[str, Segment] = {}  # the thread's own, from here on
        self._dropped: dict[str, int] = {}
        self._bytes = 0
        self._swept_s = self._flushed_s = float("-inf")
        self._last_name = 0
        self._stop = Event()
        self._thread = Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def is_open(self, stream: str) -> bool:
        """Is a segment of the stream being recorded, and whole so far?"""
        if self._failures != self._known_failures:
            self._known_failures = self._failures
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

    def hear(self, stream: str, heard: Heard, samples: Samples) -> None:
        """Record a block of a stream; where it cannot be, it is missed until the next segment."""
        if not (self.is_open(stream) and self._put(stream, (heard, samples), samples.nbytes)):
            self.miss(stream, len(samples))

    def miss(self, stream: str, samples: int) -> None:
        """Count samples that are not recorded."""
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

    def _put(self, stream: str, item: Item, size: int) -> bool:
        if self._put_bytes - self._taken_bytes > QUEUE_BYTES:
            self._open.discard(stream)  # a message or a block is missing: what follows would not be what was heard
            return False
        self._put_bytes += size + ITEM_BYTES
        self._queue.append((stream, item))
        return True

    def _run(self) -> None:
        self._guarded(self._tidy)
        while not self._stop.wait(WAKE_S):
            self._guarded(self._write)
        self._flushed_s = float("-inf")
        self._guarded(self._write)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Where the disk fails, all open segments stay as they are, and others begin once it may work again."""
        try:
            work()
        except OSError as error:
            self._disk.ail(f"{self.root}: {error.strerror or error}")
            self._retry_at_s = time.monotonic() + RETRY_S
            self._failures += 1
            for stream, segment in self._segments.items():
                self._drop(stream, segment.unwritten)
            self._segments.clear()

    def _drop(self, stream: str, samples: int) -> None:
        self._dropped[stream] = self._dropped.get(stream, 0) + samples

    def _tidy(self) -> None:
        """What a run before left raw takes its final form, and what is too old goes."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in self._mine():
            finish(each.log)
        self._sweep()

    def _write(self) -> None:
        """All that waits; then what there is no room for any more goes."""
        closed: list[Segment] = []
        for _ in range(len(self._queue)):
            stream, item = self._queue.popleft()
            self._taken_bytes += size_of(item) + ITEM_BYTES
            self._write_one(stream, item, closed)
        if time.monotonic() - self._flushed_s > FLUSH_S:
            self._flushed_s = time.monotonic()
            for segment in self._segments.values():
                self._bytes += segment.flush()
        self._keep_quota()
        for segment in closed:
            self._bytes -= finish(segment.log)
        if time.monotonic() - self._swept_s > SWEEP_S:
            self._sweep()
        if time.monotonic() >= self._retry_at_s:
            self._disk.mend()

    def _write_one(self, stream: str, item: Item, closed: list[Segment]) -> None:
        segment = self._segments.get(stream)
        if isinstance(item, Begin):
            if segment is not None:
                self._close(stream, item.how, closed)
            goes_on = segment is not None and item.how == "goes on"
            opening = item.make(segment.name if segment is not None and goes_on else "", self._dropped.get(stream, 0))
            self._last_name = max(self._last_name + 1, time.time_ns())
            fresh = Segment(folder_of(self.root, stream), f"{self._last_name:020}", opening)
            self._segments[stream], self._bytes = fresh, self._bytes + fresh.bytes
            self._dropped.pop(stream, None)
        elif segment is None:  # its segment was lost to the disk
            self._drop(stream, item[0].count if isinstance(item, tuple) else 0)
        elif isinstance(item, tuple):
            segment.hear(*item)
        elif isinstance(item, Message):
            segment.tell(item)
        else:
            self._close(stream, item, closed)

    def _close(self, stream: str, how: Ending, closed: list[Segment]) -> None:
        segment = self._segments.pop(stream)
        self._bytes += segment.close(how)
        closed.append(segment)

    def _mine(self) -> list[Standing]:
        return [each for each in segments(self.root) if self._disk.is_mine(each.folder.name)]

    def _sweep(self) -> None:
        """Count anew, and remove what is too old."""
        self._swept_s = time.monotonic()
        standing = self._mine()
        for each in outdated(standing, self._settings.minutes, self._settings.days, time.time()):
            if self._may_go(each):
                each.remove()
        self._last_name = max(self._last_name, *(int(each.name) for each in standing), 0)
        standing = self._mine()
        self._bytes = sum(each.bytes for each in standing)
        remove_models(self.root, standing)
        self._keep_quota()

    def _keep_quota(self) -> None:
        if (excess := self._bytes - self._quota) <= 0:
            return
        self._bytes -= remove_until(self._mine(), excess, self._may_go)
        if self._bytes > self._quota:  # what is open alone is too much: it ends here
            self._failures += 1
            self._segments.clear()
            self._bytes -= remove_until(self._mine(), self._bytes - self._quota, self._may_go)

    def _may_go(self, each: Standing) -> bool:
        return all(each.log != segment.log for segment in self._segments.values())
