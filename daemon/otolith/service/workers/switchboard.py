"""The switchboard: one address to send to and one to listen on, and behind them a line to each worker.

It hands on what it is given, byte for byte. All it keeps is how far each stream has been told of, which the worker that
takes it over must know.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import zmq

from otolith.service.host.bouncer import Bouncer
from otolith.settings import IngestSettings, Settings
from otolith.sinks.publisher import Publisher
from otolith.sources.network.doors import MAX_MESSAGE_BYTES, Door, check_door, open_door, visitors_of
from otolith.sources.network.relay import HELD_ANSWERS, HELD_BLOCKS
from otolith.wire.block import RefusedError
from otolith.wire.guard import open_guard
from otolith.wire.line import PULSE, Line, Standing, worker_of
from otolith.wire.messages import MESSAGE_BYTES, TOPIC_ROOT

BLOCKS_A_WAKE = 256  # by each door; messages go out in between
MESSAGES_A_WAKE = 1024
SWEEP_S = 10.0
FORGOTTEN_S = 10.0  # behind `silence_s`: by then its worker has ended the stream
NEW, NOBODY = -1, 0  # no life yet: the stream's first block is on its way, or found nobody; lives count from 1
PLACES = 100_000  # streams whose standing is kept: names cost a stranger nothing

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Place:
    """One stream: how far it was told of, and the life of its worker that knows it."""

    standing: bytes
    life: int
    heard_s: float


class Switchboard:
    """Binds all public endpoints. Raises `SettingsError`, or `WireError` where one cannot be bound.

    `faults` counts blocks that no worker was there for (`away`), datagrams that the kernel dropped (`kernel`), and
    connections that the `bouncer` hung up on (`endless`).
    """

    def __init__(self, settings: Settings, folder: str) -> None:
        ingest = settings.ingest or IngestSettings()
        endpoints = ingest.bind if settings.ingest is not None else []
        guard = open_guard(settings.keys)
        for endpoint in endpoints:
            check_door(endpoint, ingest.allow, is_guarded=guard is not None)
        self._forgotten_s = ingest.silence_s + FORGOTTEN_S
        self.faults: Counter[str] = Counter()
        self._told_faults: Counter[str] = Counter()
        self.pulses: set[int] = set()  # workers of whom something has come; whoever looks empties it
        self._places: dict[bytes, _Place] = {}  # of streams from the network
        self._own: dict[bytes, bytes] = {}  # standings of those that workers open themselves
        self._swept_s = time.monotonic()
        self._doors: list[Door] = []
        self.lines = [Line(folder, number, 0, of=settings.workers) for number in range(settings.workers)]
        self._wires: list[list[zmq.Socket[bytes]]] = [[] for _ in self.lines]
        self._has_opened = self._speaks = False
        self._poller = zmq.Poller()
        self._ready: set[zmq.Socket[bytes] | int] = set()
        self._publisher = Publisher(settings.publish, guard)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._watchman = None if guard is None else guard.watch(self._context)
        try:
            self._messages = self._context.socket(zmq.PULL)
            self._messages.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES)
            self._messages.bind(self.lines[0].messages)
            for endpoint in endpoints:
                self._doors.append(open_door(endpoint, ingest.allow, self._context, self.faults, guard))
                self._poller.register(self._doors[-1].waitable, zmq.POLLIN)
        except BaseException:
            self.close()
            raise
        self.endpoint = self._publisher.endpoint
        self.doors = [door.endpoint for door in self._doors]
        self.bouncer = Bouncer([self._publisher.visitors, *visitors_of(self._doors)])

    def connect(self, number: int) -> Line:
        """A fresh line for a worker's next life; what waited in the old one is lost, and will be told."""
        self.serve()
        for wire in self._wires[number]:
            self._poller.unregister(wire)
            wire.close(linger=0)
        before = self.lines[number]
        if before.life:
            self._publish()  # its last words, early or not: what it has told is not lost
        line = self.lines[number] = Line(before.folder, number, before.life + 1, self._told_ns(number), before.of)
        self._wires[number] = [self._wire(line.blocks(door)) for door in range(len(self._doors))]
        return line

    def wait(self, timeout_s: float) -> bool:
        """Until something came, or the time is over; whether something came."""
        self._ready = {socket for socket, _ in self._poller.poll(max(0, round(timeout_s * 1000)))}
        return bool(self._ready)

    def serve(self) -> None:
        """Hand on what came; never waits."""
        now_s = time.monotonic()
        if self._may_speak():
            self._publish()
        if self._is_open():
            for number, door in enumerate(self._doors):
                self._forward(number, door, now_s)
                self._answer(number, door)
        if now_s - self._swept_s > SWEEP_S:
            self._sweep(now_s)

    def pulse(self) -> bool:
        """Once a second: do messages leave?"""
        return self._publisher.pulse()

    def _may_speak(self) -> bool:
        """Until those who listened to the run before may be back, what workers say waits where it comes in."""
        if not self._speaks and self._publisher.return_s <= 0:
            self._speaks = True
            self._poller.register(self._messages, zmq.POLLIN)
        return self._speaks

    def _is_open(self) -> bool:
        """Until every worker has come to its line for the first time, blocks wait at the doors."""
        if not self._has_opened:
            wires = [wire for wires in self._wires for wire in wires]
            self._has_opened = all(self._wires) and all(int(wire.get(zmq.EVENTS)) & zmq.POLLOUT for wire in wires)
        return self._has_opened

    def stop_listening(self) -> None:
        """Take in no more blocks; what workers still have to say goes out."""
        for door in self._doors:
            self._poller.unregister(door.waitable)
            door.close()
        self._doors = []

    def close(self) -> None:
        """Let what is queued leave, for half a second at most."""
        for door in self._doors:
            door.close()
        self._publisher.close()
        if self._watchman is not None:
            self._watchman.stop()
            self._watchman = None
        self._context.destroy(linger=0)

    def _wire(self, address: str) -> zmq.Socket[bytes]:
        wire = self._context.socket(zmq.DEALER)
        wire.setsockopt(zmq.SNDHWM, HELD_BLOCKS)
        wire.setsockopt(zmq.RCVHWM, HELD_ANSWERS)
        wire.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        wire.bind(address)
        self._poller.register(wire, zmq.POLLIN)
        return wire

    def _forward(self, number: int, door: Door, now_s: float) -> None:
        workers = len(self.lines)
        for sender, parts in door.drain(BLOCKS_A_WAKE):
            name = door.stream_of(parts)
            worker = worker_of(name, workers)
            life = self.lines[worker].life
            place = self._places.get(name) or self._place(name, door, sender, parts, now_s)
            place.heard_s = now_s
            news = b"" if place.life in (life, NEW) else place.standing
            try:
                self._wires[worker][number].send_multipart([sender, *parts, news], zmq.NOBLOCK)
                place.life = life
            except zmq.Again:  # its worker is being started, or hangs: nobody else waits for it
                self.faults["away"] += 1
                place.life = max(place.life, NOBODY)

    def _place(self, name: bytes, door: Door, sender: bytes, parts: Sequence[bytes], now_s: float) -> _Place:
        """Note where a stream begins; of bytes that are no block, nothing is kept."""
        try:
            _, header, _ = door.decode(sender, parts)
        except RefusedError:
            return _Place(b"", NEW, now_s)  # the worker will say so
        place = _Place(Standing(header.boot, header.seq, is_first=True).encode(), NEW, now_s)
        if len(self._places) < PLACES:
            self._places[name] = place
        return place

    def _answer(self, number: int, door: Door) -> None:
        for wire in (wires[number] for wires in self._wires if wires and wires[number] in self._ready):
            with suppress(zmq.Again):
                for _ in range(BLOCKS_A_WAKE):
                    sender, *parts = wire.recv_multipart(zmq.NOBLOCK)
                    door.pass_on(sender, parts)

    def _publish(self) -> None:
        for _ in range(MESSAGES_A_WAKE):
            try:
                topic, payload, standing = self._messages.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if topic == PULSE:
                self.pulses.add(int(payload))
                continue
            self._publisher.send(topic, payload)
            name = topic[len(TOPIC_ROOT) : topic.rindex(b"/")]
            if standing.endswith(b" "):
                self._own[name] = standing
            elif place := self._places.get(name):
                place.standing = standing

    def _told_ns(self, number: int) -> dict[str, int]:
        """Until when each stream that a worker opens itself was told of."""
        theirs = {name: at for name, at in self._own.items() if worker_of(name, len(self.lines)) == number}
        return {name.decode(): Standing.decode(at).seq for name, at in theirs.items()}

    def _sweep(self, now_s: float) -> None:
        """Forget streams that are over, and tell what was lost."""
        self._swept_s = now_s
        silent = [name for name, place in self._places.items() if now_s - place.heard_s > self._forgotten_s]
        for name in silent:
            del self._places[name]
        if self.bouncer.turned_out:
            self.faults["endless"] = self.bouncer.turned_out
        if new := self.faults - self._told_faults:
            log.warning("ingest: %s", ", ".join(f"{count} {reason}" for reason, count in sorted(new.items())))
            self._told_faults = Counter(self.faults)
