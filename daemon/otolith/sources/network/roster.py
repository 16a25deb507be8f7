"""The roster: which streams from the network are there, how far each has come, and what waits of it for the loop.

Every limit is kept here. It knows no socket and no clock: blocks and moments go in, arrivals come out.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from otolith.inference.framing import Samples
from otolith.settings import IngestSettings
from otolith.sources.network.returns import DIED, LOST, NOTHING_KEPT, OVER, Remembered, Return, Returns, apart
from otolith.sources.source import LATE, Block
from otolith.wire.block import Header, Kind, RefusedError
from otolith.wire.line import Standing

GOODBYE = "the producer said goodbye"
BEGAN_AGAIN = "the producer began again"
TAKEN_OVER = "another producer took the name over"

TAKEOVER_S = 1.0  # a name is another producer's to take when nothing came of it for so long
BACK_S = 2.0  # a datagram that lies further back is no late one: its device began again from 0 ...
AHEAD_S = 60.0  # ... as where more than this would have been lost; a run that has a name goes back as far
MAX_AGE_NS = 60 * 10**9  # a capture time before this is that of a wrong clock
MAX_SKEW_NS = 10**9  # and so is one this far ahead
BLOCK_BYTES = 256  # what a block costs beside its samples, or a flood of empty ones would be free


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream appeared: what its first block says of it. `rate` is in Hz; sound is mono by now.

    It begins at `seq` of its producer's run `boot`; what is missing from there on is told with its blocks. Had a worker
    told of it so far that `died`?
    """

    stream: str
    kind: Kind
    rate: float
    channels: int
    boot: str = field(default="", compare=False)
    seq: int = field(default=0, compare=False)
    died: bool = field(default=False, compare=False)


class Received(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Blocks of one stream, in order."""

    stream: str
    blocks: list[Block]


@dataclass(frozen=True, slots=True)
class Ended:
    """A stream is over: it said goodbye, fell silent or began again."""

    stream: str
    reason: str


Arrival = Opened | Received | Ended
Origin = TypeVar("Origin")  # where a block came from: for whoever answers, nothing to us
Admit = Callable[[Opened], str]  # why a stream cannot be served, or nothing


@dataclass(slots=True)
class _Entry(Generic[Origin]):
    """One stream; `origin` is that of its last block."""

    opened: Opened
    boot: str
    expected: int  # the seq of its next block
    origin: Origin
    heard_s: float = 0.0
    claimed_ns: int = 0  # the last capture time that it told, right or wrong
    blocks: list[Block] = field(default_factory=list)  # waiting for the loop, in an arrival already
    bytes: int = 0

    def is_of(self, header: Header) -> bool:
        """Whether a block is of the same run, and of the same sound or rows."""
        opened = self.opened
        return (
            header.boot == self.boot
            and header.rate == opened.rate
            and header.kind == opened.kind
            and header.channels == opened.channels
        )


class Roster(Generic[Origin]):
    """Takes blocks, gives arrivals. `faults` counts what was refused or mended, by reason."""

    def __init__(self, limits: IngestSettings, admit: Admit, kept: Remembered = NOTHING_KEPT) -> None:
        self._limits, self._admit = limits, admit
        self._ahead_s = max(AHEAD_S, limits.silence_s)
        self._streams: OrderedDict[str, _Entry[Origin]] = OrderedDict()  # the longest silent first
        self.returns = Returns(self._ahead_s, kept)
        self._arrivals: list[Arrival] = []
        self.waiting_bytes = 0  # of all entries, waiting
        self._may_open = self._burst
        self._counted_s = 0.0
        self._behind: dict[str, tuple[Origin, int]] = {}
        self.faults: Counter[str] = Counter()

    def take(
        self,
        stream: str,
        header: Header,
        samples: Samples,
        origin: Origin,
        now_s: float,
        now_ns: int,
        wrap: int = 0,
        standing: Standing | None = None,
    ) -> bool:
        """Take one block of a stream; whether it opened it. Raises `RefusedError`, and nothing is changed.

        `now_s` is monotonic, `now_ns` UTC; `seq` counts modulo `wrap`, where there is one. `standing` is how far the
        stream had come in a worker that died; of a daemon before this one, `kept` knows it. A stream that goes on from
        there is no new one, and what lies between is missing.
        """
        entry = self._streams.get(stream)
        if entry is not None and header.seq == entry.expected and entry.is_of(header) and not header.end:
            self._go_on(entry, samples, header, origin, now_s, now_ns)  # nearly always
            return False
        anew = "" if entry is None else self._begins_again(entry, header, now_s, wrap)
        lost = 0 if entry is None or anew else self._missing(entry, header, wrap)
        is_new, reason = entry is None or bool(anew), LOST
        if entry is None or anew:
            back = self.returns.find(stream, header, now_s, wrap, standing) if entry is None or standing else None
            entry = self._open(stream, header, origin, now_s, anew, back)
            lost, reason = _step(entry, header, wrap), back.reason if back else LOST
        entry.origin, entry.heard_s = origin, now_s
        entry.expected += lost + len(samples)
        self._streams.move_to_end(stream)
        if lost or len(samples):
            self._hold(entry, Block(samples, self._time_ns(entry, header, now_ns), lost, reason if lost else ""))
        if header.end:
            self._end(entry, GOODBYE)
        return is_new

    def _go_on(
        self, entry: _Entry[Origin], samples: Samples, header: Header, origin: Origin, now_s: float, now_ns: int
    ) -> None:
        """Take the very block that was expected."""
        entry.origin, entry.heard_s = origin, now_s
        entry.expected += len(samples)
        self._streams.move_to_end(entry.opened.stream)
        if len(samples):
            self._hold(entry, Block(samples, self._time_ns(entry, header, now_ns)))

    def sweep(self, now_s: float) -> None:
        """End the streams of which nothing came for too long."""
        silence_s = self._limits.silence_s
        while self._streams:
            entry = next(iter(self._streams.values()))
            if now_s - entry.heard_s < silence_s:
                break
            self._end(entry, f"nothing came for {silence_s:g} s")

    def arrivals(self) -> list[Arrival]:
        """What came since the last call, in order; it no longer counts as waiting."""
        arrivals, self._arrivals = self._arrivals, []
        for arrival in arrivals:
            entry = self._streams.get(arrival.stream)
            if entry is not None and isinstance(arrival, Received) and arrival.blocks is entry.blocks:
                self.waiting_bytes -= entry.bytes
                entry.blocks, entry.bytes = [], 0
        return arrivals

    def behind(self) -> list[tuple[str, Origin, int]]:
        """Streams that lost samples to a limit since the last call: name, origin, how many."""
        behind, self._behind = self._behind, {}
        return [(stream, origin, lost) for stream, (origin, lost) in behind.items()]

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def _burst(self) -> float:
        return max(1.0, self._limits.max_streams_per_s)

    def _begins_again(self, entry: _Entry[Origin], header: Header, now_s: float, wrap: int) -> str:
        """Why a block is the first of another run under the stream's name, or nothing. Raises `RefusedError`."""
        stream, rate = entry.opened.stream, entry.opened.rate
        if header.boot != entry.boot:
            if now_s - entry.heard_s < TAKEOVER_S:
                raise RefusedError("taken", f"another producer is sending {stream!r}; choose another name")
            return TAKEN_OVER
        back_s = BACK_S if wrap else self._ahead_s
        return "" if -back_s * rate <= _step(entry, header, wrap) <= self._ahead_s * rate else BEGAN_AGAIN

    def _missing(self, entry: _Entry[Origin], header: Header, wrap: int) -> int:
        """How many samples are missing before a block that goes on. Raises `RefusedError`."""
        opened = entry.opened
        if (header.kind, header.rate, header.channels) != (opened.kind, opened.rate, opened.channels):
            raise RefusedError(
                "changed",
                f"{header.kind} of {header.channels} channel(s) at {header.rate:g} Hz in a stream that began as "
                f"{opened.kind} of {opened.channels} at {opened.rate:g} Hz; say goodbye first",
            )
        step = _step(entry, header, wrap)
        if step < 0:
            raise RefusedError("late", f"came {-step} samples behind what was there already")
        return step

    def _open(
        self, stream: str, header: Header, origin: Origin, now_s: float, anew: str, back: Return | None
    ) -> _Entry[Origin]:
        """A place for a new stream; the one that began `anew` under its name ends. Raises `RefusedError`."""
        limits = self._limits
        seq = header.seq if back is None else back.seq
        died = back is not None and back.reason == DIED
        opened = Opened(stream, header.kind, header.rate, header.channels, header.boot, seq, died)
        if why := self._admit(opened):
            raise RefusedError("unrouted", why)
        if not anew and len(self._streams) >= limits.max_streams:
            raise RefusedError("crowded", f"there are {limits.max_streams} streams already (max_streams)")
        if back is None or back.is_new:
            self._count_new(now_s)
        if anew:
            self._end(self._streams[stream], anew)
        self._arrivals.append(opened)
        self.returns.come(stream)
        entry = self._streams[stream] = _Entry(opened, header.boot, seq, origin)
        return entry

    def _count_new(self, now_s: float) -> None:
        """One more new stream. Raises `RefusedError` where there were too many of late."""
        limit = self._limits.max_streams_per_s
        earned = (now_s - self._counted_s) * limit
        self._may_open, self._counted_s = min(self._burst, self._may_open + earned), now_s
        if self._may_open < 1:
            raise RefusedError("hurried", f"over {limit:g} new streams a second; try again")
        self._may_open -= 1

    def _end(self, entry: _Entry[Origin], reason: str) -> None:
        stream = entry.opened.stream
        self.waiting_bytes -= entry.bytes
        del self._streams[stream]
        self._arrivals.append(Ended(stream, reason))
        standing = OVER if reason == GOODBYE else Standing(entry.boot, entry.expected)
        self.returns.leave(stream, standing, entry.heard_s)

    def _time_ns(self, entry: _Entry[Origin], header: Header, now_ns: int) -> int:
        """The capture time that a block tells where it can be true, that of its arrival otherwise."""
        told_ns, before_ns = header.time_ns, entry.claimed_ns
        if not told_ns:
            return now_ns
        entry.claimed_ns = told_ns
        if told_ns < max(before_ns, now_ns - MAX_AGE_NS) or told_ns > now_ns + MAX_SKEW_NS:
            self.faults["clock"] += 1
            return now_ns
        return min(told_ns, now_ns)

    def _hold(self, entry: _Entry[Origin], block: Block) -> None:
        """Keep a block until the loop asks; what is too much goes, the oldest first."""
        if not entry.blocks:
            self._arrivals.append(Received(entry.opened.stream, entry.blocks))
        entry.blocks.append(block)
        cost = block.samples.nbytes + BLOCK_BYTES
        entry.bytes += cost
        self.waiting_bytes += cost
        if entry.bytes > self._limits.max_bytes_per_stream:
            self._trim(entry, self._limits.max_bytes_per_stream)
        while self.waiting_bytes > self._limits.max_bytes:  # then the fullest holds more than an even share
            fullest = max(self._streams.values(), key=lambda other: other.bytes)
            self._trim(fullest, self._limits.max_bytes // len(self._streams))

    def _trim(self, entry: _Entry[Origin], bound: int) -> None:
        """Throw away the oldest blocks beyond `bound` bytes; the next one, or an empty one, tells how many samples."""
        blocks = entry.blocks
        before, dropped, lost, told = entry.bytes, 0, 0, 0
        while entry.bytes > bound:
            oldest = blocks[dropped]
            lost += len(oldest.samples)
            told += oldest.lost  # already known to be missing: passed on, not lost again
            entry.bytes -= oldest.samples.nbytes + BLOCK_BYTES
            dropped += 1
        if dropped == len(blocks):
            blocks.append(Block(oldest.samples[:0], oldest.time_ns))
            entry.bytes += BLOCK_BYTES
        del blocks[:dropped]
        blocks[0] = replace(blocks[0], lost=blocks[0].lost + told + lost, reason=LATE)
        self.waiting_bytes -= before - entry.bytes
        stream = entry.opened.stream
        _, lost_before = self._behind.get(stream, (None, 0))
        self._behind[stream] = entry.origin, lost_before + lost
        self.faults["behind"] += dropped


def _step(entry: _Entry[Origin], header: Header, wrap: int) -> int:
    """How far a block lies ahead of where its stream should go on."""
    return apart(header.seq, entry.expected, wrap)
