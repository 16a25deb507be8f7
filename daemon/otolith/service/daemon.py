"""A daemon: what was assembled, from its first block to its last message."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otolith.service.loop import Loop
from otolith.sinks.publisher import Publisher
from otolith.sinks.relay import Relay

if TYPE_CHECKING:
    from otolith.sources.network import Ingest

GARBAGE = 50_000  # objects more than were freed, before the collector looks


@dataclass(slots=True)
class Daemon:
    """A loop, the publisher that outlives it (a worker's relay), and where streams from the network come in."""

    loop: Loop
    publisher: Publisher | Relay
    ingest: Ingest | None = None

    @property
    def endpoint(self) -> str:
        """Where messages go."""
        return self.publisher.endpoint

    def stop(self) -> None:
        """End soon. Safe in a signal handler."""
        self.loop.stop()

    def run(self) -> None:
        """Listen until the sources end or the loop is stopped; the last messages leave before it returns."""
        gc.freeze()  # what stands now stays: the collector need not walk modules and models again and again
        gc.set_threshold(GARBAGE)  # what a step leaves goes by its count of references; the collector finds nothing
        try:
            self.loop.run()
        finally:
            self.publisher.close()
