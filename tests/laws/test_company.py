"""Law 2, company: what is stepped beside a stream changes nothing of what it hears."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from otolith.inference.engine import Engine, Seat
from otolith.inference.events import Detection, Event, Gap, Posteriors
from otolith.inference.model import Model
from otolith.inference.stream import Stream

HOP = 320


@dataclass
class Guest:
    """A seat in company, and a stream that hears the same alone."""

    seat: Seat
    alone: Stream
    counts: NDArray[np.int16]
    found: list[Event] = field(default_factory=list)
    expected: list[Event] = field(default_factory=list)
    at: int = 0

    def hear(self, length: int, fate: str) -> None:
        """The next `length` samples, as their fate has it."""
        block = self.counts[self.at : self.at + length]
        self.at += len(block)
        if fate == "missing":
            self.found += self.seat.gap(len(block), fate)
            self.expected += self.alone.gap(len(block), fate)
            return
        if fate != "int16":
            block = (block / 32768).astype(np.float32)
        if fate == "poisoned" and len(block):
            block[len(block) // 2] = np.nan
        self.found += self.seat.push(block)
        self.expected += self.alone.push(block)

    def leave(self) -> None:
        self.found += self.seat.close()
        self.expected += self.alone.close()


def assert_same(guest: Guest) -> None:
    """Posteriors to 1e-5, gaps and detections the same, and each sample accounted for."""
    found, expected = (
        [e.values for e in events if isinstance(e, Posteriors)] for events in (guest.found, guest.expected)
    )
    if expected:
        np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), atol=1e-5)
    assert [told(e) for e in guest.found if not isinstance(e, Posteriors)] == [
        told(e) for e in guest.expected if not isinstance(e, Posteriors)
    ]
    processed = HOP * sum(len(values) for values in found)
    assert processed + sum(e.lost for e in guest.found if isinstance(e, Gap)) == guest.at


def told(event: Event) -> object:
    if isinstance(event, Detection):
        return event.id, event.label, event.phase, event.position, event.onset, round(event.confidence, 3)
    return event


MOVES = st.sampled_from(["come", "go", *["hear"] * 8, *["step"] * 2, "step full"])
FATES = st.sampled_from([*["int16"] * 4, "float", "poisoned", "missing"])


@given(data=st.data(), frames_per_step=st.integers(1, 5), largest_batch=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_law_2_streams_that_come_go_stall_and_send_nan_change_nothing_beside_them(
    small: Model, data: st.DataObject, frames_per_step: int, largest_batch: int
) -> None:
    engine = Engine(small, frames_per_step, largest_batch)
    counts = np.random.default_rng(0).integers(-16000, 16000, 200 * HOP).astype(np.int16)  # it starts and ends labels
    present: list[Guest] = []
    gone: list[Guest] = []
    for move in data.draw(st.lists(MOVES, min_size=20, max_size=60)):
        if move == "come" or not present:
            present.append(Guest(engine.add(), Stream(small), counts[data.draw(st.integers(0, 8000)) :]))
        elif move == "hear":
            guest = data.draw(st.sampled_from(present))
            guest.hear(data.draw(st.integers(0, 12 * HOP)), data.draw(FATES))
        elif move == "go":
            gone.append(present.pop(data.draw(st.integers(0, len(present) - 1))))
            gone[-1].leave()
        else:
            listen([*present, *gone], engine, all_waiting=move == "step")
    for guest in present:
        guest.leave()
    assert engine.streams == engine.waiting == 0
    for guest in present + gone:
        assert_same(guest)


def listen(guests: list[Guest], engine: Engine, *, all_waiting: bool) -> None:
    by_seat = {guest.seat: guest for guest in guests}
    for seat, events in engine.step(all_waiting=all_waiting):
        by_seat[seat].found += events


def test_law_2_on_the_model_that_ships(words: Model, sound: NDArray[np.float32]) -> None:
    engine = Engine(words, largest_batch=3)
    counts = (sound * 32767).astype(np.int16)
    guests = [Guest(engine.add(), Stream(words), counts[4000 * number :]) for number in range(5)]
    for moment in range(40):
        for number, guest in enumerate(guests):
            if moment % (number + 1) == 0:
                guest.hear(1000 * (number + 1), "poisoned" if (moment, number) == (12, 1) else "int16")
        listen(guests, engine, all_waiting=True)
    for guest in guests:
        guest.leave()
        assert_same(guest)
    assert any(isinstance(event, Detection) for guest in guests for event in guest.found)
