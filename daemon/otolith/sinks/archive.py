"""The archive: all streams' segments below one folder, written by the recorder's thread; no more than is allowed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from otolith.inference.framing import Samples
from otolith.settings import RecorderSettings
from otolith.sinks.segment import Ending, Heard, Opening, Segment, finish
from otolith.sinks.shelves import (
    Standing,
    folder_of,
    outdated,
    remove_models,
    remove_until,
    segments,
    stream_of,
    try_out,
)
from otolith.wire.messages import Message

SWEEP_S = 10.0  # how often what is too old is looked for


@dataclass(frozen=True, slots=True)
class Begin:
    """A stream's next segment.

    `make` is called in the recorder's thread, with the name of the segment before and how many samples were not
    recorded since: those `missed` in the loop, and those that the disk did not take.
    """

    make: Callable[[str, int], Opening]
    how: Ending  # of the segment before
    missed: int = 0


Item = Begin | tuple[Heard, Samples] | Message | Ending


def size_of(item: Item) -> int:
    """Bytes of what is to be written, but for what each costs anyway."""
    return item[1].nbytes if isinstance(item, tuple) else len(getattr(item, "values", b""))


class Archive:
    """To be used by one thread. `is_mine` tells, of several workers, whose streams are whose; `expect` is called with
    how many bytes the disk is to take next, before each time that it is waited for.

    Raises `OSError` where the disk fails; `break_off` then ends what is open, and others may be begun.
    """

    def __init__(
        self, settings: RecorderSettings, is_mine: Callable[[str], bool], expect: Callable[[int], None]
    ) -> None:
        self.root, self._settings = Path(settings.folder), settings
        self.breaks = 0  # how often all that was open was broken off
        self._is_mine, self._expect = is_mine, expect
        self._quota = round(settings.megabytes * 1e6)
        self._segments: dict[str, Segment] = {}
        self._closed: deque[Segment] = deque()  # not in their final form yet
        self._dropped: dict[str, int] = {}
        self._bytes = 0
        self._swept_s = float("-inf")
        self._last_name = 0

    @property
    def is_open(self) -> bool:
        """Is any segment?"""
        return bool(self._segments)

    @property
    def has_closed(self) -> bool:
        """Is there anything to `finish`?"""
        return bool(self._closed)

    def tidy(self) -> None:
        """What a run before left raw takes its final form, and what is too old goes."""
        self._make_root()
        for each in self._mine():
            self._expect(each.bytes)
            finish(each.log)
        self.sweep()

    def take(self, stream: str, item: Item) -> int:
        """Do what an item says; how many bytes were written."""
        segment = self._segments.get(stream)
        if isinstance(item, Begin):
            return self._begin(stream, item)
        if segment is None:  # it was broken off
            self.drop(stream, item)
        elif isinstance(item, tuple):
            segment.hear(*item)
        elif isinstance(item, Message):
            segment.tell(item)
        else:
            return self._close(stream, item)
        return 0

    def drop(self, stream: str, item: Item) -> None:
        """An item is not to be written: the stream's next segment tells how many samples that were."""
        self._miss(stream, item[0].count if isinstance(item, tuple) else item.missed if isinstance(item, Begin) else 0)

    def flush(self) -> int:
        """Write what was taken; how many bytes that were."""
        written = 0
        for segment in self._segments.values():
            self._expect(0)
            written += segment.flush()
        self._bytes += written
        return written

    def finish(self) -> None:
        """A closed segment takes its final form; where that fails, the next start sees to it."""
        segment = self._closed.popleft()
        self._expect(segment.bytes)
        self._bytes -= finish(segment.log)

    def break_off(self) -> None:
        """All open segments stay as they are."""
        self.breaks += 1
        for stream, segment in self._segments.items():
            self._miss(stream, segment.unwritten)
        self._segments.clear()

    def try_out(self) -> None:
        """Write what is no recording."""
        self._make_root()
        try_out(self.root)

    def sweep(self) -> None:
        """Count anew and remove what is too old, if that is due."""
        if time.monotonic() - self._swept_s < SWEEP_S:
            return
        self._swept_s = time.monotonic()
        standing = self._mine()
        for each in outdated(standing, self._settings.minutes, self._settings.days, time.time()):
            if self._may_go(each):
                each.remove()
        self._last_name = max(self._last_name, *(int(each.name) for each in standing), 0)
        standing = self._mine()
        self._bytes = sum(each.bytes for each in standing)
        remove_models(self.root, segments(self.root))  # others' too are heard again by them
        self.keep_quota()

    def keep_quota(self) -> None:
        """The oldest goes that there is no room for."""
        if (excess := self._bytes - self._quota) <= 0:
            return
        self._bytes -= remove_until(self._mine(), excess, self._may_go)
        if self._bytes > self._quota:  # what is open alone is too much: it ends here
            self.break_off()
            self._bytes -= remove_until(self._mine(), self._bytes - self._quota, self._may_go)

    def _begin(self, stream: str, begin: Begin) -> int:
        self.drop(stream, begin)  # until a segment that tells of it is there
        before = self._segments.get(stream)
        written = 0 if before is None else self._close(stream, begin.how)
        follows = before.name if before is not None and begin.how == "goes on" else ""
        self._make_root()
        opening = begin.make(follows, self._dropped[stream])
        self._last_name = max(self._last_name + 1, time.time_ns())
        fresh = self._segments[stream] = Segment(folder_of(self.root, stream), f"{self._last_name:020}", opening)
        self._bytes += fresh.bytes
        del self._dropped[stream]
        return written

    def _close(self, stream: str, how: Ending) -> int:
        written = self._segments[stream].close(how)
        self._bytes += written
        self._closed.append(self._segments.pop(stream))
        return written

    def _miss(self, stream: str, samples: int) -> None:
        self._dropped[stream] = self._dropped.get(stream, 0) + samples

    def _make_root(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _mine(self) -> list[Standing]:
        return [each for each in segments(self.root) if self._is_mine(stream_of(each))]

    def _may_go(self, each: Standing) -> bool:
        return all(each.log != segment.log for segment in self._segments.values())
