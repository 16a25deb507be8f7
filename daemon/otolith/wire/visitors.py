"""Visitors: who is connected to a bound socket, and what each holds there that was never delivered.

libzmq keeps the parts of a message until its last one has come, and shows nobody how many. What it does show is whose
descriptors it has accepted, and of each message from which one it came; the kernel knows the rest.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import struct
import termios
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock

import zmq

EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
EVENT = struct.Struct("=HI")  # which, and the descriptor
EVENT_BYTES = 4096
MOST = 4096  # at a time, of one socket
BYTES_RECEIVED = struct.Struct("=128xQ")  # of struct tcp_info: tcpi_bytes_received (Linux 4.2)
OVERHEAD = 2  # what comes for each byte of a message, at most
PART_BYTES = 64  # a part counts so much more: it has a header, and with keys a box
HEARTBEAT_BYTES_PER_S = 64  # no part of any message: two short commands
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: reset, or one that goes on sending is never told
WAITING_BYTES = 1 << 17  # what each such sample counts for

_names = itertools.count()


@dataclass(slots=True, eq=False)
class Visitor:
    """One connection: its descriptor, and the inode that says whether that is still the same connection.

    `held` is how many bytes came that no message delivered, by our estimate.
    """

    descriptor: int
    inode: int
    is_tcp: bool
    brought: int
    weighed_s: float
    heard_s: float  # when a whole message came last
    held: int = 0

    def weigh(self, delivered: int, now_s: float) -> None:
        """Reckon anew, where `delivered` bytes of whole messages have come out since the last time."""
        passed_s, self.weighed_s = now_s - self.weighed_s, now_s
        self.heard_s = now_s if delivered else self.heard_s
        if not self.is_tcp:
            self.held = 0  # the kernel does not count: see `sample`
            return
        with suppress(OSError), self.opened() as line:
            before, self.brought = self.brought, bytes_received(line)
            allowed = OVERHEAD * delivered + round(passed_s * HEARTBEAT_BYTES_PER_S)
            self.held = max(0, self.held + self.brought - before - allowed)

    def sample(self) -> None:
        """Of a socket file: has it more on its way, again? Then it is one of those who send faster than we take."""
        with suppress(OSError):
            waiting = fcntl.ioctl(self.descriptor, termios.FIONREAD, bytes(4))
            self.held += WAITING_BYTES * any(waiting)

    def hang_up(self) -> str:
        """End the connection: libzmq then lets go of whatever it kept of it. Whose it was."""
        self.held = 0
        with suppress(OSError), self.opened() as line:
            peer = _peer(line)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            line.shutdown(socket.SHUT_RDWR)
            return peer
        return "one that has gone"

    @contextmanager
    def opened(self) -> Iterator[socket.socket]:
        """The connection itself. Raises `OSError` where it has gone, be its descriptor somebody else's by now."""
        with _opened(self.descriptor) as line:
            if os.fstat(line.fileno()).st_ino != self.inode:
                raise OSError(f"descriptor {self.descriptor} is another's")
            yield line


class Visitors:
    """Of a `socket` that is to be bound; made and closed by whoever made that, before it is closed.

    `delivered` is for whoever receives: bytes by descriptor (`zmq.SRCFD`) since the last look. The rest is for one
    other thread.
    """

    def __init__(self, bound: zmq.Socket[bytes], context: zmq.Context[zmq.Socket[bytes]], name: str) -> None:
        self.name = name
        self.delivered: Counter[int] = Counter()
        self._last = self.delivered  # as of the look before
        self._visitors: dict[int, Visitor] = {}
        self._bound, self._lock, self._is_closed = bound, Lock(), False
        address = f"inproc://visitors-{next(_names)}"
        bound.monitor(address, EVENTS)
        self._events = context.socket(zmq.PAIR)
        self._events.setsockopt(zmq.MAXMSGSIZE, EVENT_BYTES)
        self._events.setsockopt(zmq.RCVHWM, 0)  # where it were full, libzmq's own thread would wait for us
        self._events.connect(address)

    def look(self, *, at_all: bool = False) -> list[Visitor]:
        """Who is there, weighed anew; but for `at_all`, only those that delivered something are.

        Whoever comes where there are `MOST` is turned away.
        """
        with self._lock:
            if self._is_closed:
                return []
            self._note_events()
            now_s = time.monotonic()
            delivered, self.delivered = self.delivered, Counter()
            self._last = delivered
            for visitor in list(self._visitors.values()):
                count = delivered[visitor.descriptor]
                if at_all or count:
                    visitor.weigh(count, now_s)
            return list(self._visitors.values())

    def sample(self) -> None:
        """As each visitor of a socket file; but who delivers waits for us, and holds no more than he may."""
        for visitor in list(self._visitors.values()):
            if not visitor.is_tcp and not self._last[visitor.descriptor]:
                visitor.sample()

    def __len__(self) -> int:
        """How many are there, as of the last look."""
        return len(self._visitors)

    def close(self) -> None:
        """Look no more."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._bound.monitor(None, 0)  # first: libzmq's own thread waits for ever for an ear that has gone
                self._events.close(linger=0)

    def _note_events(self) -> None:
        with suppress(zmq.Again):
            while True:
                event, address = self._events.recv_multipart(zmq.NOBLOCK)
                kind, descriptor = EVENT.unpack(event)
                self._visitors.pop(descriptor, None)
                if kind == zmq.EVENT_ACCEPTED and (visitor := _visitor(descriptor, address.decode())):
                    self._visitors[descriptor] = visitor
                    if len(self._visitors) > MOST:
                        visitor.hang_up()


def bytes_received(line: socket.socket) -> int:
    """All that a TCP connection has brought so far."""
    told = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_RECEIVED.size)
    return int(BYTES_RECEIVED.unpack(told)[0]) if len(told) == BYTES_RECEIVED.size else 0


def _visitor(descriptor: int, address: str) -> Visitor | None:
    """Of a connection to `address` that was accepted a moment ago; None if it has gone, whoever has its number now."""
    with suppress(OSError), _opened(descriptor) as line:
        if _address(line) == address.rpartition(":")[2]:
            is_tcp = line.family != socket.AF_UNIX
            now_s = time.monotonic()
            return Visitor(descriptor, os.fstat(line.fileno()).st_ino, is_tcp, 0, now_s, now_s)
    return None


def _address(line: socket.socket) -> str:
    """Where a connection was accepted: its port, or its path as in `ipc://`."""
    name = line.getsockname()
    if line.family != socket.AF_UNIX:
        return str(name[1])
    path = os.fsdecode(name)
    return f"//{path.replace(chr(0), '@')}"


def _peer(line: socket.socket) -> str:
    if line.family != socket.AF_UNIX:
        host, port, *_ = line.getpeername()
        return f"{host}:{port}"
    process, user, _ = struct.unpack("=iII", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return f"process {process} of user {user}"


@contextmanager
def _opened(descriptor: int) -> Iterator[socket.socket]:
    """A second descriptor of a socket: the first may be closed meanwhile, and taken by others. Raises `OSError`."""
    with socket.socket(fileno=os.dup(descriptor)) as line:
        yield line
