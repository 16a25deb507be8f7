"""Tallies: what a daemon with metrics has counted, as it tells it of itself."""

from __future__ import annotations

import msgspec

LATENCY_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # bounds, from capture to publication


class Counted(msgspec.Struct, frozen=True):
    """Gaps: how often, and how many samples were in them."""

    times: int = 0
    samples: int = 0


class StreamTally(msgspec.Struct, frozen=True):
    """Of one stream: gaps by reason, and how often each label started."""

    gaps: dict[str, Counted] = {}
    detections: dict[str, int] = {}


class Latency(msgspec.Struct):
    """How late messages left: how many within each of `LATENCY_S`, the last for those beyond, and seconds in all."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(LATENCY_S) + 1))
    sum_s: float = 0.0

    def add(self, other: Latency) -> None:
        """Count what another has counted as well."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s


class Tallied(msgspec.Struct, frozen=True):
    """By stream, and latencies by kind of message."""

    streams: dict[str, StreamTally] = {}
    latency: dict[str, Latency] = {}


def add_up(tallies: list[Tallied]) -> Tallied | None:
    """Those of all workers together; None where there are none."""
    if not tallies:
        return None
    latency: dict[str, Latency] = {}
    for tallied in tallies:
        for kind, of in tallied.latency.items():
            latency.setdefault(kind, Latency()).add(of)
    return Tallied({name: tally for each in tallies for name, tally in each.streams.items()}, latency)
