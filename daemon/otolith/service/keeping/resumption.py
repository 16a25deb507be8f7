"""Resumption: what a listener knew when it was put away, and whether one that comes later may go on from there.

It is decided by the first block: how many samples were lost, and how much time passed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from otolith.inference.engine import Seat
from otolith.inference.memory import Memory
from otolith.inference.stream import Stream
from otolith.sources.network.returns import RESTARTED
from otolith.sources.source import Block
from otolith.wire.scribe import Unsent

STATE_KEPT = "its state was kept"
TOLERANCE_S = 0.01  # capture times of blocks that follow one another are apart by a little more or less


class Resampled(msgspec.Struct, array_like=True, frozen=True):
    """A resampler: samples taken and given, and the last that were taken."""

    taken: int
    given: int
    recent: list[np.ndarray]


class Ear(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A listener beside its stream.

    `told_ns` is when its last sample was captured; `seq` how many samples of its source it had taken, counted as the
    blocks of the producer's run `boot` are.
    """

    told_ns: int
    source_rate: float
    boot: str
    seq: int
    unsent: Unsent
    utterance: tuple[bool, int, int, float] | None
    resampled: Resampled | None
    is_away: bool = False  # has its source last said why nothing comes?


@dataclass(frozen=True, slots=True)
class Kept:
    """One stream: what its model (by digest) knew, and what its listener did."""

    model: str
    memory: Memory
    ear: Ear


def misfit(memory: Memory, stream: Stream | Seat) -> str:
    """What of a memory is not as the stream's own is, or nothing."""
    own = stream.remember().rows
    for name, array in own.items():
        found = memory.rows.get(name)
        if found is None or (found.shape, found.dtype) != (array.shape, array.dtype):
            return name
    kinds = (np.int64,) if stream.model.card.kind == "token" else (np.float32, np.int16)
    trailing = (len(stream.model.card.channels),) if stream.model.card.kind == "sensor" else ()
    fits = all(block.shape[1:] == trailing and block.ndim and block.dtype in kinds for block in memory.waiting)
    return "" if fits else "samples that wait"


class Resumption(msgspec.Struct, array_like=True, frozen=True):
    """What the first block is held against.

    `fresh` is why the stream cannot go on, whatever comes; `is_told` where an earlier life has told of all that the
    block does not count as lost.
    """

    told_ns: int
    rate: float  # of the source
    within_s: float
    fresh: str = ""
    is_told: bool = False

    def judge(self, block: Block) -> tuple[str, str]:
        """How a stream begins with `block`, `resumed` or `fresh` and why; and the reason of its gap, if it has one."""
        reason, fresh = block.reason or RESTARTED, self.fresh
        if not fresh and not (len(block.samples) or block.ends):
            fresh = block.reason or "nothing came"
        if not fresh:
            fresh = self._late(block)
        if fresh:
            return f"fresh: {fresh}", reason
        if block.lost:
            return f"resumed: {block.lost} samples lost", f"{reason}; {STATE_KEPT}"
        if self.is_told or reason != RESTARTED:
            return "resumed", f"{reason}; {STATE_KEPT}"
        return "resumed", ""

    def _late(self, block: Block) -> str:
        """Why a block comes too late, or nothing. What waited in a pipe may seem older than what was heard of it."""
        later_s, rate = (block.time_ns - self.told_ns) / 1e9, self.rate or math.inf
        passed_s = max(later_s - len(block.samples) / rate, block.lost / rate)
        if later_s < -self.within_s:
            return f"the clock was set back by {-later_s:.3g} s"
        if passed_s > self.within_s + TOLERANCE_S:
            return f"{passed_s:.3g} s passed, {self.within_s:g} are allowed"
        return ""
