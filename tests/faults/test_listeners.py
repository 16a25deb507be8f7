"""Subscribers that do not listen: nobody else loses a message to them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import zmq

from otolith import Subscriber
from otolith.sinks.publisher import Publisher
from otolith.wire.messages import DetectionMessage

RATE_HZ = 1000
GROWTH_BYTES = 32_000_000


def message(seq: int) -> DetectionMessage:
    at_ns = time.time_ns()
    fields = {"boot": "b", "stream": "kitchen", "model": "words@0", "time_ns": at_ns, "position": 320 * seq}
    return DetectionMessage(
        **fields, seq=seq, id=seq, label="yes", phase="start", confidence=0.9, onset_ns=at_ns, latency_ms=40.0
    )


@contextmanager
def deaf(endpoint: str, count: int) -> Iterator[None]:
    """Subscribers who join and never read; what is sent to them fills every buffer on the way."""
    with zmq.Context() as context:
        ears = [context.socket(zmq.SUB) for _ in range(count)]
        for ear in ears:
            for option, value in ((zmq.RCVHWM, 1), (zmq.RCVBUF, 1024), (zmq.LINGER, 0)):
                ear.setsockopt(option, value)
            ear.subscribe("")
            ear.connect(endpoint)
        yield
        for ear in ears:
            ear.close()


@pytest.mark.parametrize("deaf_ones", [3])
def test_beside_a_deaf_subscriber_a_healthy_one_hears_every_message(
    tmp_path: Path, deaf_ones: int, is_full: bool
) -> None:
    """A thousand messages a second: 30,000 where it is recorded."""
    count, endpoint = RATE_HZ * (30 if is_full else 3), f"ipc://{tmp_path}/publish"
    with Publisher(endpoint) as publisher, Subscriber(endpoint) as healthy, deaf(endpoint, deaf_ones):
        while healthy.receive(0.05) is None:
            publisher.take(message(0))  # until it is connected
        while healthy.receive(0.2):
            pass
        before, began_s, heard = psutil.Process().memory_info().rss, time.monotonic(), 0
        for seq in range(1, count + 1):
            publisher.take(message(seq))
            if seq % 20 == 0:
                time.sleep(max(0.0, began_s + seq / RATE_HZ - time.monotonic()))
                while healthy.receive(0):
                    heard += 1
        while heard < count and healthy.receive(2):
            heard += 1
        grown = psutil.Process().memory_info().rss - before
    print(f"{heard} of {count} in {time.monotonic() - began_s:.1f} s, {grown / 1e6:.1f} MB more")
    assert (heard, healthy.missed) == (count, 0)
    assert grown < GROWTH_BYTES
