"""What a sink is: it takes messages, one by one, and must never make the loop wait."""

from __future__ import annotations

from typing import Protocol

from otolith.wire.messages import Message


class Sink(Protocol):
    """Where messages go."""

    def take(self, message: Message) -> None:
        """Take one message; late or stalled readers are the sink's to bear."""

    def close(self) -> None:
        """Let the last messages leave, within half a second."""
