"""The publisher: only what somebody wants is encoded and sent, and numbers go on all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from otolith.sinks import publisher as publisher_file
from otolith.sinks.publisher import Publisher
from otolith.wire.messages import GapMessage, Message, decode, encode

TELLS_S = 2.0


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with Publisher(f"ipc://{tmp_path}/publish.sock") as publisher:
        yield publisher


def gap(stream: str, seq: int) -> GapMessage:
    return GapMessage(boot="b", seq=seq, stream=stream, model="m", time_ns=1, position=0, lost=1, reason="test")


def subscriber(publisher: Publisher, prefix: bytes) -> zmq.Socket[bytes]:
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.connect(publisher.endpoint)
    socket.subscribe(prefix)
    assert publisher._socket.poll(1000 * TELLS_S)  # its subscription has come
    return socket


def heard(socket: zmq.Socket[bytes]) -> list[int]:
    """Numbers of what has come, until nothing more does."""
    numbers = []
    while socket.poll(100):
        message = decode(socket.recv_multipart())
        assert message is not None
        numbers.append(message.seq)
    return numbers


def test_what_nobody_wants_is_not_encoded(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Message] = []
    monkeypatch.setattr(publisher_file, "encode", lambda message: encoded.append(message) or encode(message))
    with subscriber(publisher, b"otolith/1/kitchen/"):
        for stream in ("hall", "kitchen", "cellar"):
            publisher.take(gap(stream, 0))
    assert [message.stream for message in encoded] == ["kitchen"]


def test_a_subscriber_gets_the_very_next_message(publisher: Publisher) -> None:
    publisher.take(gap("hall", 0))
    with subscriber(publisher, b"otolith/1/hall/") as first:
        publisher.take(gap("hall", 1))
        with subscriber(publisher, b"otolith/1/") as second:
            publisher.take(gap("hall", 2))
            assert heard(first) == [1, 2]
            assert heard(second) == [2]


def test_who_has_gone_is_not_sent_to(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    with subscriber(publisher, b"otolith/1/hall/") as socket:
        publisher.take(gap("hall", 0))
        assert heard(socket) == [0]
    assert publisher._socket.poll(1000 * TELLS_S)  # its farewell has come
    monkeypatch.setattr(publisher_file, "NEWS_EVERY", 1)
    publisher.take(gap("hall", 1))
    assert not publisher._is_wanted(b"otolith/1/hall/gap")


def test_who_subscribes_to_more_than_a_topic_is_hung_up_on_and_nobody_else(publisher: Publisher) -> None:
    with subscriber(publisher, b"otolith/1/hall/") as good, subscriber(publisher, b"x" * 10_000):
        publisher.take(gap("hall", 0))
        assert heard(good) == [0]
    assert not any(len(prefix) > 1000 for prefix in publisher._subscribed)


def test_many_subscriptions_are_not_asked_about_one_by_one(publisher: Publisher) -> None:
    with subscriber(publisher, b"otolith/1/hall/") as socket:
        for number in range(2 * publisher_file.MOST_PREFIXES):
            socket.setsockopt(zmq.SUBSCRIBE, f"otolith/1/room-{number}/".encode())
        while len(publisher._subscribed) <= 2 * publisher_file.MOST_PREFIXES:
            publisher.take(gap("cellar", 0))  # nobody's: it looks who has come
            publisher._socket.poll(100)
        assert publisher._wanted == (b"",)
        publisher.take(gap("hall", 1))
        assert heard(socket) == [1]
