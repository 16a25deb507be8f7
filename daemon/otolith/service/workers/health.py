"""Health: what workers say of themselves, whether one hangs, and what systemd is told of them all."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from otolith.service.host.systemd import notify

START_S, HANG_S = 60.0, 6.0  # without a word of a worker that starts, or works; less than the unit's WatchdogSec
REPORT_S = 1.0  # how often systemd is told
PATIENCE = 2  # reports without a word that arrives: the first has no time to


@dataclass(slots=True)
class Health:
    """One worker's, in its present life. At `notified` arrives what it would tell systemd."""

    notified: socket.socket
    silent_s: float = 0.0  # of the time in which we listened
    is_ready: bool = False
    is_heard: bool = False
    is_fed: bool = False

    def begin(self) -> None:
        """A new life."""
        self.is_ready = self.is_heard = self.is_fed = False
        self.silent_s = 0.0

    def listen(self, passed_s: float, has_pulse: bool) -> None:
        """Read what it said; its `pulse` is a word that came the way that its messages come."""
        was_ready = self.is_ready
        with contextlib.suppress(BlockingIOError):
            while True:
                note = self.notified.recv(4096)
                self.is_fed |= b"WATCHDOG=1" in note
                self.is_ready |= b"READY=1" in note
        self.silent_s += passed_s
        if has_pulse or self.is_ready > was_ready:
            self.is_heard, self.silent_s = True, 0.0

    @property
    def hangs(self) -> bool:
        return self.silent_s > (HANG_S if self.is_heard else START_S)


class Attest:
    """What systemd is told: ready when all work and one hears frames; fed while one does, and messages leave.

    A worker that hears nothing does not take the others down, nor does one that hangs: it is ended alone.
    """

    def __init__(self) -> None:
        self.is_ready = False
        self._told_s = 0.0
        self._missed = 0

    def is_due(self, now_s: float) -> bool:
        """Is there something to tell?"""
        return not self.is_ready or now_s - self._told_s >= REPORT_S

    def greet(self, working: Sequence[Health]) -> None:
        """Tell that the daemon is ready, once it is."""
        if all(each.is_heard for each in working) and (not working or any(each.is_ready for each in working)):
            self.is_ready = True
            notify("READY=1", f"STATUS={len(working)} worker(s)")

    def report(self, now_s: float, working: Sequence[Health], deaths: int, *, leave: bool) -> None:
        """Once a second; `leave` says whether messages do."""
        self._told_s = now_s
        self._missed = 0 if leave else self._missed + 1
        status = f"STATUS={len(working)} worker(s), started again {deaths} time(s)"
        if self._missed <= PATIENCE and any(each.is_fed for each in working):
            notify("WATCHDOG=1", status)
        else:
            notify(f"{status}; {'nothing leaves' if self._missed > PATIENCE else 'nothing is heard'}")
        for each in working:
            each.is_fed = False
