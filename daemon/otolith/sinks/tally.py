"""The tally: what messages said, counted for whoever asks: gaps by reason, detections by label, how late they left."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Collection
from threading import Lock

from otolith.wire.messages import (
    AnomalyMessage,
    DetectionMessage,
    ForecastMessage,
    GapMessage,
    Message,
    PosteriorsMessage,
    StatusMessage,
)
from otolith.wire.tallies import LATENCY_S, Counted, Latency, StreamTally, Tallied

MOST_STREAMS = 1000  # that have a count of their own at a time; names cost a stranger nothing
MOST_NAMES = 32  # reasons, or labels, of one stream
OTHER = "other"


class Tally:
    """A sink that keeps nothing but counts. Posteriors are looked at once a second a stream, the rest as it comes."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self._lock = Lock()
        self._streams: dict[str, StreamTally] = {}
        self._latency = {"detection": Latency(), "posteriors": Latency()}
        self._due: set[str] = set()  # streams whose next posteriors are looked at

    def take(self, message: Message) -> None:
        """Count one message."""
        match message:
            case PosteriorsMessage() | ForecastMessage():
                if message.stream in self._due:
                    self._due.discard(message.stream)
                    self._time("posteriors", message)
            case DetectionMessage() | AnomalyMessage():
                if message.phase == "start":
                    self._time("detection", message)
                    label = message.label if isinstance(message, DetectionMessage) else "anomaly"
                    with self._lock:
                        _count(self._of(message.stream).detections, label, 1)
            case GapMessage():
                with self._lock:
                    gaps = self._of(message.stream).gaps
                    name = message.reason if message.reason in gaps or len(gaps) < MOST_NAMES else OTHER
                    was = gaps.get(name, Counted())
                    gaps[name] = Counted(was.times + 1, was.samples + message.lost)
            case StatusMessage():
                self._due.add(message.stream)

    def close(self) -> None:
        """There is nothing to let go."""

    def report(self, streams: Collection[str]) -> Tallied:
        """All counts, of `streams` that are there now; those of others are forgotten. From any thread."""
        there = set(streams)
        with self._lock:
            self._due &= there
            self._streams = {name: tally for name, tally in self._streams.items() if name in there}
            counts = {name: StreamTally(dict(t.gaps), dict(t.detections)) for name, t in self._streams.items()}
            latency = {kind: Latency(list(of.counts), of.sum_s) for kind, of in self._latency.items()}
        return Tallied(counts, latency)

    def _of(self, stream: str) -> StreamTally:
        """A stream's counts; where there are too many streams, the first to come is forgotten."""
        if stream not in self._streams and len(self._streams) >= MOST_STREAMS:
            del self._streams[next(iter(self._streams))]
        return self._streams.setdefault(stream, StreamTally())

    def _time(self, kind: str, message: Message) -> None:
        """From the capture of the last sample behind a message until now, when it is published."""
        late_s = max(0.0, (self._now_ns() - message.time_ns) / 1e9)
        with self._lock:
            latency = self._latency[kind]
            latency.counts[bisect_left(LATENCY_S, late_s)] += 1
            latency.sum_s += late_s


def _count(counts: dict[str, int], name: str, more: int) -> None:
    name = name if name in counts or len(counts) < MOST_NAMES else OTHER
    counts[name] = counts.get(name, 0) + more
