"""A source that an earlier life was listening to goes on: what passed in between is declared as lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event

from msgspec.structs import replace

from otolith.sources.network.returns import DIED
from otolith.sources.source import Block, Source


@dataclass(frozen=True, slots=True)
class Resumed:
    """The same source; its first block tells how many samples passed since `told_ns`, by the clock."""

    source: Source
    told_ns: int
    reason: str

    @property
    def rate(self) -> float:
        return self.source.rate

    @property
    def live(self) -> bool:
        return self.source.live

    def blocks(self, stop: Event) -> Iterator[Block]:
        told_ns = self.told_ns
        for block in self.source.blocks(stop):
            if not told_ns:
                yield block
                continue
            passed_s = (block.time_ns - told_ns) / 1e9
            lost = max(0, round(passed_s * self.rate) - len(block.samples))
            yield replace(block, lost=block.lost + lost, reason=self.reason)
            told_ns = 0


def resumed(source: Source, told_ns: int, reason: str = DIED) -> Source:
    """`source`, of which was told until `told_ns` (0: never); a recording is heard from its start again."""
    return Resumed(source, told_ns, reason) if told_ns and source.live else source
