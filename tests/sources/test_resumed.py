"""A microphone that a worker's next life opens again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event

import numpy as np

from otolith.sources.resumed import resumed
from otolith.sources.source import Block

SECOND_NS = 10**9


@dataclass
class Tape:
    """A source of two blocks of a tenth of a second, the first ending at 13 s."""

    live: bool = True
    rate: float = 16000
    times_ns: list[int] = field(default_factory=lambda: [13 * SECOND_NS, 13 * SECOND_NS + SECOND_NS // 10])

    def blocks(self, stop: Event) -> Iterator[Block]:  # noqa: ARG002
        for time_ns in self.times_ns:
            yield Block(np.zeros(1600, np.int16), time_ns)


def test_what_passed_while_no_worker_listened_is_lost() -> None:
    first, second = resumed(Tape(), 10 * SECOND_NS).blocks(Event())
    assert (first.lost, first.reason) == (3 * 16000 - 1600, "the worker died")
    assert (second.lost, second.reason) == (0, "")


def test_a_clock_that_was_set_back_loses_nothing() -> None:
    first, _ = resumed(Tape(), 20 * SECOND_NS).blocks(Event())
    assert first.lost == 0


def test_a_recording_and_a_first_life_are_heard_as_they_are() -> None:
    recording, microphone = Tape(live=False), Tape()
    assert resumed(recording, 10 * SECOND_NS) is recording
    assert resumed(microphone, 0) is microphone
