"""A daemon: what was assembled, from its first block to its last message."""

from __future__ import annotations

import gc
import os
import time
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otolith.service.control import Control, open_control
from otolith.service.loop import Loop
from otolith.sinks.publisher import Publisher
from otolith.sinks.relay import Relay
from otolith.wire.control import Answer, DaemonStatus, Request

if TYPE_CHECKING:
    from otolith.sources.network import Ingest

GARBAGE = 50_000  # objects more than were freed, before the collector looks


@dataclass(slots=True)
class Daemon:
    """A loop, the publisher that outlives it (a worker's relay), and where streams from the network come in."""

    loop: Loop
    publisher: Publisher | Relay
    ingest: Ingest | None = None
    control: bool | str = False
    _began_s: float = field(default_factory=time.monotonic)

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
            with self._controlled():
                self.loop.run()
        finally:
            self.publisher.close()

    def status(self) -> DaemonStatus:
        """How it is now. From any thread."""
        from importlib.metadata import version  # here: it takes a moment, and few ask

        accounts = self.loop.accounts
        return DaemonStatus(
            version=version("otolith"),
            pid=os.getpid(),
            publish=self.endpoint,
            up_s=round(time.monotonic() - self._began_s, 3),
            real_time_factor=round(accounts.real_time_factor([]), 6),
            frames=accounts.frames,
            gaps=accounts.gaps,
            lost=accounts.lost,
            drops=accounts.drops,
            refused={} if self.ingest is None else dict(self.ingest.faults),
            streams=self.loop.statuses,
        )

    def _controlled(self) -> AbstractContextManager[Control | None]:
        control = open_control(self.control, self._answer)
        if control is None:
            return nullcontext()
        control.start()
        return closing(control)

    def _answer(self, _request: Request) -> Answer:
        return Answer(status=self.status())
