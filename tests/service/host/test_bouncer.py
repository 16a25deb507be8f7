"""The bouncer: it hangs up on whom it sees to hold what never ends, and on nobody else for as long as it can."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import zmq

from otolith.service.host import bouncer as bouncer_file
from otolith.service.host.bouncer import BOUND_BYTES, IN_VAIN, LAST_BYTES, Bouncer
from otolith.wire.visitors import PART_BYTES, Visitors
from tests.faults.flood import connect, part

WAITS_MS = 2000


class Hall:
    """A ROUTER with two visitors, and a bouncer that is told how much memory there is."""

    def __init__(self, endpoint: str, stack: ExitStack) -> None:
        context = stack.enter_context(zmq.Context())
        self.socket = stack.enter_context(context.socket(zmq.ROUTER))
        self.visitors = Visitors(self.socket, context, endpoint)
        stack.callback(self.visitors.close)
        self.socket.bind(endpoint)
        self.endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.good, self.bad = (stack.enter_context(closing(connect(self.endpoint, b"DEALER"))) for _ in range(2))
        self.resident, self.accounted = 100_000_000, 0
        self.bouncer = Bouncer([self.visitors], lambda: self.accounted, lambda: self.resident)
        self.say()

    def say(self) -> None:
        """The good one sends a whole message, which is received."""
        self.good.sendall(b"\0\x05hello")
        assert self.socket.poll(WAITS_MS)
        self.socket.recv()
        frame = self.socket.recv(copy=False)
        self.visitors.delivered[frame.get(zmq.SRCFD)] += len(frame) + PART_BYTES

    def begin(self, size: int) -> None:
        """The bad one begins a message, and does not end it."""
        self.bad.sendall(part(1000) * (size // 1000))
        time.sleep(0.2)  # until ZeroMQ has it

    def grow(self, size: int) -> int:
        """How many are left, once memory has grown by so much."""
        self.resident += size
        before, expected = self.bouncer.turned_out, len(self.visitors.look())
        self.bouncer.look()
        expected -= self.bouncer.turned_out - before
        deadline_s = time.monotonic() + WAITS_MS / 1000
        while (left := len(self.visitors.look())) != expected and time.monotonic() < deadline_s:
            time.sleep(0.01)  # ZeroMQ's own thread has to hear of it
        return left


@contextmanager
def hall_at(endpoint: str) -> Iterator[Hall]:
    with ExitStack() as stack:
        yield Hall(endpoint, stack)


@pytest.fixture
def hall() -> Iterator[Hall]:
    with hall_at("tcp://127.0.0.1:*") as hall:
        yield hall


def test_who_holds_what_never_ends_is_hung_up_on_and_nobody_else(hall: Hall) -> None:
    hall.begin(4_000_000)
    assert hall.grow(BOUND_BYTES + 1) == 1
    assert hall.bouncer.turned_out == 1
    hall.say()


def test_while_memory_is_within_its_bound_nobody_is_hung_up_on(hall: Hall) -> None:
    hall.begin(4_000_000)
    assert hall.grow(BOUND_BYTES - 1) == 2


def test_what_the_daemon_accounts_for_is_nobodys_fault(hall: Hall) -> None:
    hall.begin(4_000_000)
    hall.accounted = 1 << 20
    assert hall.grow(BOUND_BYTES + 1) == 2


def test_where_memory_grows_by_itself_nobody_is_hung_up_on(hall: Hall) -> None:
    for _ in range(10):
        hall.say()
        assert hall.grow(LAST_BYTES // 10) == 2
    with hall.bouncer.lenient():
        assert hall.grow(LAST_BYTES) == 2
    assert hall.grow(BOUND_BYTES) == 2


def test_where_it_cannot_be_seen_who_it_is_those_go_who_have_said_nothing_of_late(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bouncer_file, "WEIGH_S", 0.0)
    hall.visitors.look()
    assert hall.grow(LAST_BYTES + 1) == 2
    assert [hall.grow(1) for _ in range(IN_VAIN)] == [2] * (IN_VAIN - 1) + [0]


def test_of_a_long_message_that_ended_nothing_is_held(hall: Hall) -> None:
    hall.good.sendall(part(1000) * 4000 + b"\0\0")
    assert hall.socket.poll(WAITS_MS)
    frames = hall.socket.recv_multipart(copy=False)
    hall.visitors.delivered[frames[-1].get(zmq.SRCFD)] += sum(len(frame) + PART_BYTES for frame in frames)
    assert max(visitor.held for visitor in hall.visitors.look(at_all=True)) < 1000  # handshakes


def test_on_a_socket_file_it_is_who_always_has_more_on_its_way(tmp_path: Path) -> None:
    with hall_at(f"ipc://{tmp_path}/ingest") as hall:
        counts = itertools.cycle([b"\0\0\0\0", b"\1\0\0\0"])
        waiting = {visitor.descriptor: next(counts) for visitor in hall.visitors.look()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fcntl.ioctl", lambda descriptor, *_: waiting[descriptor])
            assert hall.grow(BOUND_BYTES + 1) == 1


def test_an_accepted_descriptor_that_is_anothers_by_now_is_not_hung_up_on(hall: Hall) -> None:
    visitor = hall.visitors.look()[0]
    visitor.inode += 1
    visitor.hang_up()
    hall.say()
    assert len(hall.visitors.look()) == 2
