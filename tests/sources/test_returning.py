"""A device that goes and comes: it is opened again, and all that passed is heard or declared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from threading import Event

import numpy as np
import pytest

from otolith.errors import DeviceHangsError, SourceError
from otolith.sources import returning
from otolith.sources.returning import Returning
from otolith.sources.source import Block

RATE = 1000.0
PERIOD_S = 0.01


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(returning, "LONGEST_WAIT_S", 0.1)


class Device:
    """Gives `blocks` blocks in real time, then fails."""

    live = True

    def __init__(self, blocks: int, rate: float = RATE, error: type[SourceError] = SourceError) -> None:
        self.rate, self._blocks, self._error = rate, blocks, error

    def blocks(self, _stop: Event) -> Iterator[Block]:
        for _ in range(self._blocks):
            time.sleep(PERIOD_S)
            yield Block(np.ones(round(PERIOD_S * self.rate), np.int16), time.time_ns())
        raise self._error("microphone: vanished")


class Silent(Device):
    """Says that it is silent, and goes on."""

    def blocks(self, stop: Event) -> Iterator[Block]:
        yield from islice(super().blocks(stop), self._blocks)
        yield Block(np.empty(0, np.int16), time.time_ns(), 0, "microphone: stalled")
        time.sleep(0.1)
        yield from super().blocks(stop)


def opening(*devices: Device | None) -> Callable[[], Device]:
    """Opens one after the other; None stands for a try that finds no device."""
    left = list(devices)

    def open_device() -> Device:
        device = left.pop(0) if left else None
        if device is None:
            raise SourceError("microphone: no such device")
        return device

    return open_device


def hear(source: Returning, until: Callable[[list[Block]], bool]) -> list[Block]:
    stop, blocks = Event(), []
    for block in source.blocks(stop):
        blocks.append(block)
        if until(blocks):
            stop.set()
    return blocks


def heard(blocks: list[Block]) -> int:
    return sum(len(block.samples) for block in blocks)


def test_what_passed_while_it_was_away_is_declared_by_the_clock() -> None:
    source = Returning(opening(Device(5), None, None, Device(5)), 500.0, waits=False)
    began_s = time.monotonic()
    blocks = hear(source, lambda so_far: heard(so_far) == 100)
    passed = (time.monotonic() - began_s) * RATE
    lost = sum(block.lost for block in blocks)
    assert 0.9 * passed - 50 < heard(blocks) + lost < 1.1 * passed + 50
    assert lost > 100
    reasons = {block.reason for block in blocks if block.reason}
    assert reasons == {"microphone: vanished", "microphone: no such device"}


def test_while_it_is_away_it_says_why() -> None:
    blocks = hear(Returning(opening(Device(1)), 500.0, waits=False), lambda so_far: len(so_far) == 4)
    assert [len(block.samples) for block in blocks] == [10, 0, 0, 0]
    assert [block.reason for block in blocks[1:]] == ["microphone: vanished", *2 * ["microphone: no such device"]]


def test_one_that_comes_back_at_another_rate_says_so() -> None:
    blocks = hear(Returning(opening(Device(1), Device(1, 4000.0)), 500.0, waits=False), lambda b: heard(b) > 10)
    assert [block.rate for block in blocks if len(block.samples)] == [0.0, 4000.0]


def test_one_that_is_missing_at_first_is_waited_for_only_where_that_is_wanted() -> None:
    with pytest.raises(SourceError, match="no such device"):
        Returning(opening(None, Device(1)), 500.0, waits=False)
    source = Returning(opening(None, None, Device(1)), 500.0, waits=True)
    assert source.rate == 500.0
    assert heard(hear(source, lambda so_far: heard(so_far) > 0)) == 10
    assert source.rate == RATE


def test_a_device_that_hangs_is_not_tried_again_and_what_passed_is_declared() -> None:
    source = Returning(opening(Device(1, error=DeviceHangsError), Device(1)), 500.0, waits=False)
    blocks: list[Block] = []
    with pytest.raises(DeviceHangsError):
        blocks.extend(source.blocks(Event()))
    assert [len(block.samples) for block in blocks] == [10, 0]


@pytest.mark.parametrize("tells", [False, True])
def test_what_passed_in_a_silence_is_counted_unless_the_device_tells_itself(tells: bool) -> None:
    source = Returning(lambda: Silent(5), 500.0, waits=False, tells=tells)
    blocks = hear(source, lambda so_far: heard(so_far) == 100)
    assert (sum(block.lost for block in blocks) > 0) != tells
