"""Visitors: who is connected, what each holds, and how many there may be."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import zmq

from otolith.wire import visitors as visitors_file
from otolith.wire.visitors import Visitor, Visitors
from tests.faults.flood import connect, part

PATIENCE_S = 5.0


@pytest.fixture(params=["tcp", "ipc"])
def hall(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Visitors, str]]:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        visitors = Visitors(router, context, "hall")
        router.bind("tcp://127.0.0.1:*" if request.param == "tcp" else f"ipc://{tmp_path}/hall")
        yield visitors, router.getsockopt_string(zmq.LAST_ENDPOINT)
        visitors.close()


def until(visitors: Visitors, count: int) -> list[Visitor]:
    """Who is there, once there are so many."""
    deadline_s = time.monotonic() + PATIENCE_S
    while len(there := visitors.look(at_all=True)) != count:
        assert time.monotonic() < deadline_s, there
        time.sleep(0.01)
    return there


def test_who_comes_and_goes_is_known(hall: tuple[Visitors, str]) -> None:
    visitors, endpoint = hall
    with closing(connect(endpoint, b"DEALER")):
        until(visitors, 1)
        with closing(connect(endpoint, b"DEALER")):
            until(visitors, 2)
        until(visitors, 1)
    until(visitors, 0)


def test_what_tcp_has_brought_and_nobody_got_is_held(hall: tuple[Visitors, str]) -> None:
    visitors, endpoint = hall
    with closing(connect(endpoint, b"DEALER")) as line:
        line.sendall(part(1000) * 1000)
        (visitor,) = until(visitors, 1)
        deadline_s = time.monotonic() + PATIENCE_S
        while visitor.is_tcp and visitor.held < 900_000:
            assert time.monotonic() < deadline_s, visitor
            until(visitors, 1)
        assert visitor.held < 1_100_000


def test_of_more_than_may_come_the_last_is_hung_up_on(
    hall: tuple[Visitors, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    visitors, endpoint = hall
    monkeypatch.setattr(visitors_file, "MOST", 2)
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(closing(connect(endpoint, b"DEALER"))) for _ in range(3))
        until(visitors, 2)
        third.settimeout(PATIENCE_S)
        assert is_over(third)
        for line in (first, second):
            line.setblocking(False)
            assert not is_over(line)


def is_over(line: socket.socket) -> bool:
    try:
        return line.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_once_closed_nobody_is_looked_at(hall: tuple[Visitors, str]) -> None:
    visitors, endpoint = hall
    with closing(connect(endpoint, b"DEALER")):
        until(visitors, 1)
        visitors.close()
        assert visitors.look(at_all=True) == []
