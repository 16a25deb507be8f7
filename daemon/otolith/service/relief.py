"""The relief: another model listens along to a stream, and takes over at a frame boundary when it has warmed up."""

from __future__ import annotations

import math
from collections.abc import Callable

from otolith.inference.engine import Seat
from otolith.inference.events import Event
from otolith.inference.framing import Samples
from otolith.inference.stream import Stream
from otolith.wire.messages import Message
from otolith.wire.scribe import Scribe

WARM_S = 1.0  # of listening along: by then a state that began with nothing has heard what the old one has
CHANGED = "the model was changed"


class Relief:
    """`seat` hears what `old` hears from its last whole frame on, and says nothing until it `is_ready`.

    A model with other frames than the old one's has no boundary in common with it: it is ready at once, and begins
    afresh behind a gap in which nothing is lost. `scribe` writes what it says then; `turn` is called before it does.
    """

    def __init__(self, old: Stream | Seat, seat: Seat, scribe: Scribe, turn: Callable[[], None] = lambda: None) -> None:
        self.old, self.seat, self.scribe, self.turn = old, seat, scribe, turn
        was, is_ = old.model.card, seat.model.card
        self.is_alike = (was.kind, was.sample_rate, was.hop_length) == (is_.kind, is_.sample_rate, is_.hop_length)
        # one label for the whole of an utterance is for whoever has heard the whole of it
        self._warm = math.inf if is_.task == "classify" else WARM_S * is_.sample_rate
        self._offset = old.position
        if self.is_alike and isinstance(old, Seat):
            for block in old.backlog.blocks:
                seat.push(block)

    def push(self, samples: Samples) -> None:
        """What the old one is given to hear, it hears too."""
        if self.is_alike:
            self.seat.push(samples)

    def begin(self) -> None:
        """The stream starts afresh: there is nothing to be warmed by."""
        self.seat.gap(0, CHANGED)
        self._offset, self._warm = 0, 0

    @property
    def is_ready(self) -> bool:
        """Do both stand at the end of the same frame?"""
        if not self.is_alike:
            return True
        position = self.seat.position
        return position >= self._warm and position + self._offset == self.old.position


class Silent:
    """Whom a seat's events go to while it only listens along."""

    def hear(self, _events: list[Event]) -> list[Message]:
        return []
