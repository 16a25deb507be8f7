"""The switchboard between real producers, a subscriber, and a worker's end of the line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otolith.service.workers.switchboard import Switchboard
from otolith.settings import IngestSettings, Settings
from otolith.sinks.relay import Relay
from otolith.sources.network.ingest import Ingest
from otolith.sources.network.returns import DIED
from otolith.sources.network.roster import Arrival, Opened, Received
from otolith.wire.datagram import encode_datagram
from otolith.wire.line import Ledger, Line, Standing
from otolith.wire.messages import AnyMessage, GapMessage
from otolith.wire.subscriber import Subscriber
from tests.sources.producing import HEADER, SOUND, Stranger, datagrams_to, strangers

FIELDS: dict[str, Any] = {"boot": "d", "seq": 0, "stream": "kitchen", "model": "m@0", "time_ns": 0, "position": 0}
MANY = 5000  # more than ZeroMQ holds at one end
INGEST = IngestSettings(bind=["zmq+tcp://127.0.0.1:*", "udp://127.0.0.1:0"])


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Switchboard]:
    board = Switchboard(Settings(ingest=INGEST, publish=f"ipc://{tmp_path}/publish", workers=1), str(tmp_path))
    yield board
    board.close()


@pytest.fixture
def stranger(board: Switchboard) -> Iterator[Stranger]:
    with strangers(board.doors[0], 1) as (stranger,):
        yield stranger


def turn(board: Switchboard, ingest: Ingest | None, until: Callable[[list[Arrival]], bool]) -> list[Arrival]:
    """What a worker hears, while the board hands on."""
    arrivals: list[Arrival] = []
    deadline_s = time.monotonic() + 5
    while not until(arrivals):
        assert time.monotonic() < deadline_s, arrivals
        board.wait(0.01)
        board.serve()
        arrivals += [] if ingest is None else ingest.receive()
    return arrivals


def worker_on(line: Line) -> Ingest:
    ingest = Ingest(INGEST, line=line)
    time.sleep(0.1)  # its connection
    return ingest


def is_heard(arrivals: list[Arrival]) -> bool:
    return any(isinstance(arrival, Received) for arrival in arrivals)


def told(arrivals: list[Arrival]) -> list[tuple[int, str]]:
    return [(b.lost, b.reason) for arrival in arrivals if isinstance(arrival, Received) for b in arrival.blocks]


def test_a_worker_hears_blocks_and_its_answers_find_their_way_back(board: Switchboard, stranger: Stranger) -> None:
    with worker_on(board.connect(0)) as ingest:
        stranger.send(0)
        assert told(turn(board, ingest, is_heard)) == [(0, "")]
        stranger.socket.send_multipart([b"kitchen", b"no header", b""])
        turn(board, ingest, lambda _: ingest.faults["malformed"] == 1)
        turn(board, ingest, lambda _: stranger.socket.poll(10) != 0)
        assert [answer.kind for answer in stranger.answers()][:1] == ["welcome"]


def test_datagrams_are_handed_on_with_their_senders(board: Switchboard) -> None:
    with worker_on(board.connect(0)) as ingest, datagrams_to(board.doors[1]) as send:
        send(b"noise")
        send(encode_datagram("pump", HEADER, SOUND[:160]))
        opened = turn(board, ingest, is_heard)[0]
        assert isinstance(opened, Opened)
        assert (opened.stream, opened.boot.split("|")[0]) == ("pump", "127.0.0.1")
        assert ingest.faults["malformed"] == 1


def test_a_stream_that_came_while_no_worker_was_there_is_told_from_its_beginning(
    board: Switchboard, stranger: Stranger
) -> None:
    with worker_on(board.connect(0)):
        board.serve()
    line = board.connect(0)
    stranger.send(100)
    turn(board, None, lambda _: board.faults["away"] == 1)
    with worker_on(line) as ingest:
        stranger.send(260)
        assert told(turn(board, ingest, is_heard)) == [(160, DIED)]


def test_blocks_that_come_before_the_worker_has_wait_for_it(board: Switchboard, stranger: Stranger) -> None:
    line = board.connect(0)
    stranger.send(100)
    for _ in range(20):
        board.wait(0.01)
        board.serve()
    with worker_on(line) as ingest:
        assert told(turn(board, ingest, is_heard)) == [(0, "")]
    assert not board.faults


def test_blocks_that_come_before_all_workers_have_lines_wait_for_them(tmp_path: Path) -> None:
    board = Switchboard(Settings(ingest=INGEST, publish=f"ipc://{tmp_path}/publish", workers=2), str(tmp_path))
    try:
        with strangers(board.doors[0], 1) as (stranger,):
            stranger.send(0)
            time.sleep(0.1)
            first = board.connect(0)
            with worker_on(first) as one, worker_on(board.connect(1)) as two:
                heard: list[Arrival] = []
                turn(board, None, lambda _: heard.extend(one.receive() + two.receive()) or is_heard(heard))
        assert told(heard) == [(0, "")]
    finally:
        board.close()


def test_the_next_life_goes_on_where_messages_had_told(board: Switchboard, stranger: Stranger) -> None:
    line = board.connect(0)
    with worker_on(line) as ingest:
        stranger.send(0)
        stranger.send(160)
        turn(board, ingest, lambda arrivals: len(told(arrivals)) == 2)
    publish(line, Standing("b", 200))
    with worker_on(board.connect(0)) as ingest:
        time.sleep(0.1)
        stranger.send(320)
        assert told(turn(board, ingest, is_heard)) == [(120, DIED)]


def test_a_stream_of_the_workers_own_is_remembered_by_its_time(board: Switchboard) -> None:
    line = board.connect(0)
    publish(line, Standing("", 5 * 10**9))
    time.sleep(0.1)
    assert board.connect(0).told_ns == {"kitchen": 5 * 10**9}


def test_what_a_worker_says_is_published_without_what_is_ours(board: Switchboard) -> None:
    with Subscriber(board.endpoint) as subscriber:
        time.sleep(0.2)  # its subscription
        publish(board.connect(0), Standing("b", 200))
        heard: list[AnyMessage | None] = []
        turn(board, None, lambda _: heard.append(subscriber.receive(0.01)) or heard[-1] is not None)
    message = heard[-1]
    assert isinstance(message, GapMessage)  # decoded strictly: a third part of ours would have been no message
    assert (message.stream, message.seq, message.lost) == ("kitchen", 0, 1)


def test_what_workers_say_first_waits_for_those_who_listened_before_and_holds_up_nobody(
    board: Switchboard, stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otolith.sinks.publisher.RETURN_S", 60)
    with (
        Subscriber(board.endpoint) as subscriber,
        worker_on(line := board.connect(0)) as ingest,
        closing(Relay(line, Ledger())) as relay,
    ):
        for seq in range(MANY):
            relay.take(GapMessage(**{**FIELDS, "seq": seq}, lost=1, reason=""))
        stranger.send(0)
        assert told(turn(board, ingest, is_heard)) == [(0, "")]
        turn(board, None, lambda _: not board.wait(0.05))  # it sleeps: what waits does not wake it
        assert subscriber.receive(0.05) is None
        monkeypatch.setattr("otolith.sinks.publisher.RETURN_S", 0)
        heard: list[int] = []
        while len(heard) < MANY:
            board.serve()
            if (message := subscriber.receive(0)) is not None:
                heard.append(message.seq)
    assert heard == list(range(MANY))


def publish(line: Line, standing: Standing) -> None:
    """A message of a worker's, and how its stream stands behind it."""

    class Told(Ledger):
        def after(self, message: object) -> bytes:  # noqa: ARG002
            return standing.encode()

    relay = Relay(line, Told())
    relay.take(GapMessage(**FIELDS, lost=1, reason=""))
    relay.close()
