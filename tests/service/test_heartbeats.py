"""Heartbeats: one a second each, spread over the second."""

from __future__ import annotations

import math
from collections import Counter

from otolith.service.heartbeats import Heartbeats


def test_each_comes_once_a_second_and_many_do_not_come_at_once() -> None:
    heartbeats: Heartbeats[int] = Heartbeats()
    for stream in range(1000):
        heartbeats.add(stream, 5.0)
    told: Counter[int] = Counter()
    most = 0
    for moment in range(1, 101):  # hundredths of a second
        due = heartbeats.take(5.0 + moment * 0.03)
        most = max(most, len(due))
        told.update(due)
    assert set(told.values()) == {3}
    assert most <= 60


def test_the_first_of_one_stream_comes_after_a_second() -> None:
    heartbeats: Heartbeats[str] = Heartbeats()
    heartbeats.add("s", 5.0)
    assert heartbeats.next_s == 6.0
    assert heartbeats.take(5.99) == []
    assert heartbeats.take(6.0) == ["s"]


def test_after_a_stall_each_comes_once() -> None:
    heartbeats: Heartbeats[str] = Heartbeats()
    heartbeats.add("s", 0.0)
    assert heartbeats.take(7.5) == ["s"]
    assert heartbeats.next_s == 8.0


def test_whoever_is_gone_has_none() -> None:
    heartbeats: Heartbeats[str] = Heartbeats()
    heartbeats.add("s", 0.0)
    heartbeats.remove("s")
    assert heartbeats.take(3.0) == []
    assert heartbeats.next_s == math.inf
