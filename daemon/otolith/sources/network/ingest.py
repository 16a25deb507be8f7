"""Streams from the network: producers push blocks, streams appear with their first one and end with their last.

The loop waits on an `Ingest`, takes what arrived and never hears of a socket.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Self

import zmq

from otolith.settings import IngestSettings
from otolith.sources.network.doors import Door, check_door, open_door, visitors_of
from otolith.sources.network.relay import RelayDoor
from otolith.sources.network.returns import NOTHING_KEPT, Remembered
from otolith.sources.network.roster import Admit, Arrival, Opened, Roster
from otolith.wire.block import MAX_NAME_BYTES, PASSING, Answer, RefusedError
from otolith.wire.guard import Guard
from otolith.wire.line import Line, Standing
from otolith.wire.visitors import Visitors

BLOCKS_A_WAKE = 4096  # by each door: a flood takes so much of one wake-up, and not more
STREAM_BYTES = 1 << 16  # of one stream, all that the daemon keeps of it, about
TOLD_A_SECOND = 1024  # refusals and the like: who floods us is not answered in kind


def _admit_all(_opened: Opened) -> str:
    return ""


class Ingest:
    """Every endpoint of `settings`, bound. Raises `SettingsError`, or `WireError` where one cannot be bound.

    `admit` says why a stream that would open cannot be served, or nothing; its producer is told. `faults` counts, by
    reason: what was refused (`otolith.wire.block.REASONS`), capture times that could not be true (`clock`), blocks lost
    to a limit on bytes (`behind`), datagrams lost in the kernel (`kernel`) and connections that were hung up on, since
    they began what they never ended (`endless`): `turned_out` says how many. With a `line` this is a worker's: what
    comes to the endpoints, which the daemon has bound, is taken from there. A `guard` knows who may
    connect, `kept` what an earlier run knew of streams.
    """

    def __init__(
        self,
        settings: IngestSettings,
        admit: Admit = _admit_all,
        line: Line | None = None,
        guard: Guard | None = None,
        kept: Remembered = NOTHING_KEPT,
    ) -> None:
        if line is None:
            for endpoint in settings.bind:
                check_door(endpoint, settings.allow, is_guarded=guard is not None)
        self._roster: Roster[tuple[Door, bytes]] = Roster(settings, admit, kept)
        self.faults: Counter[str] = self._roster.faults
        self._told: set[tuple[bytes, bytes, str]] = set()
        self._told_s = 0.0
        self._doors: list[Door] = []
        self.turned_out: Callable[[], int] = lambda: 0
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._watchman = None if guard is None or line is not None else guard.watch(self._context)
        try:
            for number, endpoint in enumerate(settings.bind):
                if line is None:
                    door = open_door(endpoint, settings.allow, self._context, self.faults, guard)
                else:
                    door = RelayDoor(endpoint, line.blocks(number), settings.allow, self._context)
                self._doors.append(door)
        except BaseException:
            self.close()
            raise
        self.endpoints = [door.endpoint for door in self._doors]
        self._poller = zmq.Poller()
        for waitable in (self._wake, *(door.waitable for door in self._doors)):
            self._poller.register(waitable, zmq.POLLIN)

    def __len__(self) -> int:
        """How many streams there are."""
        return len(self._roster)

    @property
    def visitors(self) -> list[Visitors]:
        """Who is connected, by endpoint of ZeroMQ's."""
        return visitors_of(self._doors)

    @property
    def own_bytes(self) -> int:
        """What streams take up, about, and what waits of them. From any thread."""
        return self._roster.waiting_bytes + STREAM_BYTES * len(self._roster)

    def gone(self, now_s: float) -> dict[str, Standing]:
        """How far streams had come that fell silent of late. From any thread."""
        return self._roster.returns.gone(now_s)

    def wait(self, timeout_s: float) -> bool:
        """Until something came, `wake` was called or the time is over; whether there is anything to look at."""
        ready = dict(self._poller.poll(max(0, round(timeout_s * 1000))))
        if self._wake in ready:
            os.eventfd_read(self._wake)
        return bool(ready)

    def wake(self) -> None:
        """Make a waiting `wait` return at once. Safe in any thread and in a signal handler."""
        os.eventfd_write(self._wake, 1)

    def receive(self) -> list[Arrival]:
        """All that came since the last call, in order; never waits."""
        self.collect()
        return self._roster.arrivals()

    def collect(self) -> None:
        """Take what came, and keep it within the limits until `receive`: for a loop that is busy; never waits."""
        now_s, now_ns = time.monotonic(), time.time_ns()
        if now_s - self._told_s >= 1:
            self._told.clear()
            self._told_s = now_s
            if turned_out := self.turned_out():
                self.faults["endless"] = turned_out
        for door in self._doors:
            for sender, parts in door.drain(BLOCKS_A_WAKE):
                self._take(door, sender, parts, now_s, now_ns)
        for stream, (door, sender), lost in self._roster.behind():
            text = f"the daemon is late; {lost} samples were lost"
            self._tell(door, sender, stream.encode(), Answer(kind="behind", reason="behind", text=text))
        self._roster.sweep(now_s)

    def close(self) -> None:
        """Let go of every endpoint."""
        for door in self._doors:
            door.close()
        self._doors = []
        if self._watchman is not None:
            self._watchman.stop()
            self._watchman = None
        self._context.term()
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1

    def _take(self, door: Door, sender: bytes, parts: Sequence[bytes], now_s: float, now_ns: int) -> None:
        try:
            stream, header, samples = door.decode(sender, parts)
            standing = door.standing(parts)
            is_new = self._roster.take(stream, header, samples, (door, sender), now_s, now_ns, door.wrap, standing)
        except RefusedError as refusal:
            self.faults[refusal.reason] += 1
            reason, is_passing = refusal.reason, refusal.reason in PASSING
            answer = Answer(kind="refused", reason=reason, text=str(refusal), passing=is_passing)
            self._tell(door, sender, parts[0] if parts else b"", answer)
            return
        if is_new:
            door.answer(sender, parts[0], Answer(kind="welcome"))
        if header.end:
            door.answer(sender, parts[0], Answer(kind="goodbye"))

    def _tell(self, door: Door, sender: bytes, stream: bytes, answer: Answer) -> None:
        """Answer, but the same to the same at most once a second."""
        told = (sender, stream[:MAX_NAME_BYTES], answer.reason)
        if told not in self._told and len(self._told) < TOLD_A_SECOND:
            self._told.add(told)
            door.answer(sender, stream, answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
