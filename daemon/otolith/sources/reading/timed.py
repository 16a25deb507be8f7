"""A source of rows whose own times are honoured: they say when rows were captured, and which ones are missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from otolith.inference.framing import Samples
from otolith.sources.reading.losses import Losses
from otolith.sources.reading.pace import Pacemaker
from otolith.sources.reading.timeline import CLOCK_SET, HEARD, Placed, Timeline
from otolith.sources.source import Block, Source

Stamps = NDArray[np.float64]

IS_UTC_S = 1e9  # later than 2001: seconds since 1970, and not since a device was switched on
AHEAD_S = 1.0  # of our clock: then the sensor's is wrong
BREAK = Placed(False)  # behind the last row
CATCHING_UP = 1 / 1024  # a row's share in what is held of how far two clocks are apart


class Timed:
    """The same source, known to the log as `name`; blocks without `stamps_s` stay as they are."""

    def __init__(self, source: Source, timeline: Timeline, name: str) -> None:
        self._source = source
        self._pacemaker, self._losses = Pacemaker(name, source.rate), Losses(name)
        self._splitter = Splitter(timeline)

    @property
    def rate(self) -> float:
        return self._source.rate

    @property
    def live(self) -> bool:
        return self._source.live

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`."""
        for block in self._source.blocks(stop):
            now_s = time.monotonic()
            for piece in self._splitter.push(block, now_s):
                self._pacemaker.push(piece, now_s)
                yield from self._losses.push(piece, now_s)
        yield from self._losses.end()


class Splitter:
    """Cuts blocks where their rows' times tell of a loss."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline, self._clock = timeline, Clock()
        self._told = 0  # rows told as lost since the last that was heard
        self._heard_s = 0.0
        self._last: Samples = np.empty(0, np.float32)  # the last row heard

    def push(self, block: Block, now_s: float) -> Iterator[Block]:
        """The blocks that one block is, at `now_s` by a clock that nobody sets."""
        if block.stamps_s is None:
            yield block
            self._timeline.pass_by(len(block.samples))
            self._told = 0 if len(block.samples) else self._told + block.lost
            return
        self._told += block.lost
        places = [
            self._place(row, stamp_s, now_s)
            for row, stamp_s in zip(block.samples, block.stamps_s.tolist(), strict=True)
        ]
        yield from self._cut(block, block.stamps_s, places)

    def _place(self, row: Samples, stamp_s: float, now_s: float) -> Placed:
        if stamp_s != stamp_s:  # NaN: it says nothing, and comes behind the last
            self._timeline.pass_by(1)
            placed = HEARD
        else:
            is_same = stamp_s == self._timeline.last_s and np.array_equal(row, self._last)
            placed = self._timeline.place(stamp_s, self._told, now_s - self._heard_s, is_same=is_same)
        if placed.is_heard:
            self._told, self._heard_s, self._last = 0, now_s, row
        return placed

    def _cut(self, block: Block, stamps_s: Stamps, places: list[Placed]) -> Iterator[Block]:
        """Rows that follow one another as one block; what they say of their time becomes the block's."""
        lost, reason, begin = block.lost, block.reason, 0
        for end, placed in enumerate([*places, BREAK]):
            if placed is HEARD:
                continue
            if end > begin or (placed is BREAK and (lost or reason)):
                time_ns = block.time_ns
                if end > begin and (stamp_s := float(stamps_s[end - 1])) == stamp_s:
                    time_ns = self._clock.utc_ns(stamp_s, time_ns, anew=places[begin].reason == CLOCK_SET)
                samples = block.samples[begin:end]
                yield replace(block, samples=samples, time_ns=time_ns, lost=lost, reason=reason, stamps_s=None)
                lost, reason = 0, ""
            lost, reason = lost + placed.lost, reason or placed.reason
            begin = end if placed.is_heard else end + 1


class Clock:
    """A sensor's clock in UTC: what it says, if that is a date that can be true; otherwise by when its rows come."""

    def __init__(self) -> None:
        self._offset_s: float | None = None

    def utc_ns(self, stamp_s: float, now_ns: int, *, anew: bool = False) -> int:
        """The capture time of a row that says `stamp_s` and came at `now_ns`; never later than that."""
        apart_s = now_ns / 1e9 - stamp_s
        if stamp_s >= IS_UTC_S and apart_s >= -AHEAD_S:
            return min(now_ns, round(stamp_s * 1e9))
        if self._offset_s is None or anew or apart_s < self._offset_s:  # no row was on its way for less than nothing
            self._offset_s = apart_s
        else:
            self._offset_s += (apart_s - self._offset_s) * CATCHING_UP
        return round((stamp_s + self._offset_s) * 1e9)
