"""The inbox: bounded, and honest about what it throws away."""

from __future__ import annotations

import threading
import time
from threading import Event

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from otolith.service.inbox import LATE, Inbox, Shelf
from otolith.sources.source import Block


def block(length: int, time_ns: int = 0, lost: int = 0) -> Block:
    return Block(np.zeros(length, np.float32), time_ns, lost)


@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=60), takes=st.sets(st.integers(0, 59)))
def test_every_sample_of_a_live_source_is_taken_or_counted(lengths: list[int], takes: set[int]) -> None:
    inbox = Inbox([Shelf(bound=1000, live=True)])
    taken: list[Block] = []
    for number, length in enumerate(lengths):
        inbox.put(0, block(length), Event())
        if number in takes:
            taken += inbox.take(0)[0][0][1]
    taken += [b for _, blocks in inbox.take(0)[0] for b in blocks]
    assert sum(len(b.samples) + b.lost for b in taken) == sum(lengths)
    assert all(b.reason == LATE for b in taken if b.lost)


def test_the_oldest_go_first() -> None:
    inbox = Inbox([Shelf(bound=300, live=True)])
    for moment in range(5):
        inbox.put(0, block(100, moment), Event())
    ((_, blocks),) = inbox.take(0)[0]
    assert [b.time_ns for b in blocks] == [3, 4]
    assert blocks[0].lost == 300
    assert inbox.drops(0) == 3


def test_a_source_that_can_wait_is_made_to() -> None:
    inbox = Inbox([Shelf(bound=100, live=False)])
    inbox.put(0, block(100), Event())
    writer = threading.Thread(target=inbox.put, args=(0, block(50), Event()))
    writer.start()
    time.sleep(0.05)
    assert writer.is_alive()
    assert len(inbox.take(0)[0][0][1]) == 1
    writer.join(1)
    assert not writer.is_alive()
    assert len(inbox.take(0)[0][0][1]) == 1


def test_a_waiting_source_lets_go_at_the_stop() -> None:
    inbox, stop = Inbox([Shelf(bound=1, live=False)]), Event()
    inbox.put(0, block(1), stop)
    writer = threading.Thread(target=inbox.put, args=(0, block(1), stop))
    writer.start()
    stop.set()
    writer.join(1)
    assert not writer.is_alive()


def test_the_end_comes_behind_the_last_block() -> None:
    inbox = Inbox([Shelf(10, live=True), Shelf(10, live=True)])
    inbox.put(1, block(5), Event())
    inbox.end(1, None)
    taken, ended = inbox.take(0)
    assert [stream for stream, _ in taken] == [1]
    assert ended == [(1, None)]
