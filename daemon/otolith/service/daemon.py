"""A daemon: what was assembled, from its first block to its last message."""

from __future__ import annotations

import gc
import logging
import os
import time
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING

from otolith.errors import UsageError
from otolith.service.control import Control, open_control
from otolith.service.host.bouncer import Bouncer
from otolith.service.host.memory import resident_bytes
from otolith.service.host.metering import metered
from otolith.service.host.systemd import while_reloading
from otolith.service.loop import Loop
from otolith.service.reception import Plan, Reception
from otolith.service.renewal import ReadSettings, read_again
from otolith.service.threads import yielding
from otolith.sinks.publisher import Publisher
from otolith.sinks.relay import Relay
from otolith.sinks.tally import Tally
from otolith.wire.control import Answer, DaemonStatus, Request

if TYPE_CHECKING:
    from otolith.sources.network.ingest import Ingest

GARBAGE = 50_000  # objects more than were freed, before the collector looks


log = logging.getLogger(__name__)


@dataclass(slots=True)
class Daemon:
    """A loop, the publisher that outlives it (a worker's relay), and where streams from the network come in."""

    loop: Loop
    publisher: Publisher | Relay
    reception: Reception
    ingest: Ingest | None = None
    tally: Tally | None = None
    bouncer: Bouncer = field(default_factory=Bouncer)
    read_settings: ReadSettings | None = None  # as they now stand in their file
    _plan: Plan | None = None  # prepared, and not yet taken on
    _reloading: RLock = field(default_factory=RLock)
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
            is_worker = isinstance(self.publisher, Relay)  # what it counts stands on its daemon's page
            page = metered(None if is_worker else self.reception.settings.metrics, self.status)
            with self._controlled(), page, self.bouncer:
                self.loop.run()
        finally:
            self.publisher.close()

    def reload(self) -> list[str]:
        """Read the settings and their models again and listen as they say; what changed, a line each.

        From any thread but the loop's. Raises `OtolithError` where they cannot be: then nothing has changed.
        """
        with self._reloading, while_reloading(is_ready=self.loop.warden.is_ready):
            self.prepare()
            return self.change()

    def prepare(self) -> None:
        """All of a reload that takes time or may fail. Raises `OtolithError`; then nothing is prepared."""
        with self._reloading:
            self._plan = None
            with self.bouncer.lenient():  # models take what they take
                self._plan = self.reception.prepare(read_again(self.read_settings, self.reception.settings))

    def change(self) -> list[str]:
        """The rest of it; what changed, a line each. Raises `UsageError` where nothing is prepared."""
        with self._reloading:
            plan, self._plan = self._plan, None
            if plan is None:
                raise UsageError("nothing is prepared that could change; ask for a reload")
            with yielding():
                changes = self.loop.ask(lambda: self.reception.change(plan, self.loop))
                while more := self.loop.ask(lambda: self.reception.change_some(self.loop)):
                    changes += more
                for change in changes:
                    log.info("%s", change, extra={"event": "changed"})
        return changes

    def forget(self) -> None:
        """Let be what was prepared."""
        with self._reloading:
            self._plan = None

    def status(self) -> DaemonStatus:
        """How it is now. From any thread."""
        from importlib.metadata import version  # here: it takes a moment, and few ask

        accounts, streams = self.loop.accounts, self.loop.statuses
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
            streams=streams,
            degraded=self.loop.ailments.text,
            memory_bytes=resident_bytes(),
            tallied=None if self.tally is None else self.tally.report([each.stream for each in streams]),
        )

    def _controlled(self) -> AbstractContextManager[Control | None]:
        control = open_control(self.reception.settings.control, self._answer)
        if control is None:
            return nullcontext()
        control.start()
        return closing(control)

    def _answer(self, request: Request) -> Answer:
        match request.command:
            case "status":
                return Answer(status=self.status())
            case "reload":
                return Answer(changes=self.reload())
            case "change":
                return Answer(changes=self.change())
            case "prepare":
                self.prepare()
            case "forget":
                self.forget()
        return Answer()
