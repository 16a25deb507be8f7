"""The inbox: bounded, and honest about what it throws away."""

from __future__ import annotations

import itertools
import math
import signal
import threading
import time
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otolith.service.inbox import Inbox, Shelf, Taken
from otolith.sources.source import LATE, Block


def blocks_of(taken: Taken) -> list[Block]:
    return [block for _, blocks in taken.blocks for block in blocks]


def block(length: int, time_ns: int = 0, lost: int = 0) -> Block:
    return Block(np.zeros(length, np.float32), time_ns, lost)


@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=60), takes=st.sets(st.integers(0, 59)))
def test_every_sample_of_a_live_source_is_taken_or_counted(lengths: list[int], takes: set[int]) -> None:
    inbox, shelf = Inbox(), Shelf("s", bound=1000, live=True)
    taken: list[Block] = []
    for number, length in enumerate(lengths):
        inbox.put(shelf, block(length), Event())
        if number in takes:
            taken += blocks_of(inbox.take(0))
    taken += blocks_of(inbox.take(0))
    assert sum(len(b.samples) + b.lost for b in taken) == sum(lengths)
    assert all(b.reason == LATE for b in taken if b.lost)


def test_it_tells_when_the_first_of_what_is_taken_came() -> None:
    inbox, shelf = Inbox(), Shelf("s", bound=1000, live=True)
    before_s = time.monotonic()
    inbox.put(shelf, block(10), Event())
    between_s = time.monotonic()
    inbox.put_live([(shelf, [block(10), block(10)])])
    assert before_s <= inbox.take(0).since_s <= between_s
    assert inbox.take(0).since_s == math.inf


def test_the_oldest_go_first() -> None:
    inbox, shelf = Inbox(), Shelf("s", bound=300, live=True)
    for moment in range(5):
        inbox.put(shelf, block(100, moment), Event())
    blocks = blocks_of(inbox.take(0))
    assert [b.time_ns for b in blocks] == [3, 4]
    assert blocks[0].lost == 300
    assert shelf.drops == 3


def test_a_source_that_can_wait_is_made_to() -> None:
    inbox, shelf = Inbox(), Shelf("s", bound=100, live=False)
    inbox.put(shelf, block(100), Event())
    writer = threading.Thread(target=inbox.put, args=(shelf, block(50), Event()))
    writer.start()
    time.sleep(0.05)
    assert writer.is_alive()
    assert len(blocks_of(inbox.take(0))) == 1
    writer.join(1)
    assert not writer.is_alive()
    assert len(blocks_of(inbox.take(0))) == 1


def test_a_waiting_source_lets_go_at_the_stop() -> None:
    inbox, shelf, stop = Inbox(), Shelf("s", bound=1, live=False), Event()
    inbox.put(shelf, block(1), stop)
    writer = threading.Thread(target=inbox.put, args=(shelf, block(1), stop))
    writer.start()
    stop.set()
    writer.join(1)
    assert not writer.is_alive()


def test_the_end_comes_behind_the_last_block_and_nothing_behind_the_end() -> None:
    inbox, shelf = Inbox(), Shelf("s", 10, live=True)
    inbox.put(shelf, block(5), Event())
    inbox.end(shelf)
    inbox.end(shelf)
    with pytest.raises(ValueError, match="'s' has ended"):
        inbox.put(shelf, block(5), Event())
    taken = inbox.take(0)
    assert [found for found, _ in taken.blocks] == taken.ended == [shelf]


def test_whoever_waits_for_many_blocks_is_not_woken_by_few() -> None:
    inbox, shelf = Inbox(), Shelf("s", 100, live=True)
    putting = threading.Timer(0.02, lambda: [inbox.put(shelf, block(1), Event()) for _ in range(3)])
    putting.start()
    started = time.monotonic()
    assert len(blocks_of(inbox.take(5, enough=3))) == 3
    inbox.put(shelf, block(1), Event())
    assert time.monotonic() - started < 2
    assert len(blocks_of(inbox.take(0.01, enough=3))) == 1


def test_a_signal_handler_may_wake_the_thread_that_takes() -> None:
    inbox, shelf = Inbox(), Shelf("s", 100, live=True)
    woken = itertools.count()

    def wake(_number: int, _frame: object) -> None:
        next(woken)
        inbox.wake()

    before = signal.signal(signal.SIGVTALRM, wake)
    signal.setitimer(signal.ITIMER_VIRTUAL, 1e-4, 1e-4)
    taken = 0
    try:
        for _ in range(5000):
            inbox.put(shelf, block(1), Event())
            taken += len(blocks_of(inbox.take(0)))
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert taken == 5000
    assert next(woken) > 0
