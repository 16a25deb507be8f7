"""The subscriber: what it chooses, and what it tells of what it missed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import zmq

from otolith import Subscriber
from otolith.errors import WireError
from otolith.sinks.publisher import Publisher
from otolith.wire.messages import DetectionMessage, GapMessage, Message

HEAD = {"boot": "b", "stream": "kitchen", "model": "m@0", "time_ns": 0, "position": 0}


def gap(seq: int, **changes: object) -> GapMessage:
    return GapMessage(**{**HEAD, "seq": seq, "lost": 1, "reason": "test", **changes})


def detection(seq: int, label: str) -> DetectionMessage:
    fields = {"id": seq, "label": label, "phase": "start", "confidence": 1.0, "onset_ns": 0, "latency_ms": 0.0}
    return DetectionMessage(**{**HEAD, "seq": seq, **fields})


@pytest.fixture
def publisher(endpoint: str) -> Iterator[Publisher]:
    with Publisher(endpoint) as publisher:
        yield publisher


def received(publisher: Publisher, messages: list[Message], **choice: object) -> tuple[list[Message], int]:
    """What a subscriber that is surely connected gets of `messages`."""
    with Subscriber(publisher.endpoint, **choice) as subscriber:  # type: ignore[arg-type]
        time.sleep(0.2)
        for message in messages:
            publisher.take(message)
        return list(iter(lambda: subscriber.receive(0.3), None)), subscriber.missed


def test_messages_arrive_typed_and_in_order(publisher: Publisher) -> None:
    messages: list[Message] = [gap(0), detection(0, "yes"), gap(1)]
    assert received(publisher, messages) == (messages, 0)


def test_a_stream_a_kind_and_a_label_can_be_chosen(publisher: Publisher) -> None:
    messages: list[Message] = [gap(0), detection(0, "yes"), detection(1, "no"), gap(0, stream="kitchenette")]
    assert received(publisher, messages, label="no") == ([messages[2]], 0)
    assert received(publisher, messages, stream="kitchen", kind="gap") == ([messages[0]], 0)
    assert received(publisher, messages, kind=["gap"]) == ([messages[0], messages[3]], 0)


def test_missed_sequence_numbers_are_counted_for_each_run_and_kind(publisher: Publisher) -> None:
    messages: list[Message] = [gap(4), gap(5), gap(9), detection(0, "yes"), gap(0, boot="c"), gap(3, boot="c")]
    assert received(publisher, messages)[1] == 3 + 2


def test_iteration_ends_when_nothing_comes(publisher: Publisher) -> None:
    started = time.monotonic()
    with Subscriber(publisher.endpoint, timeout_s=0.2) as subscriber:
        assert list(subscriber) == []
    assert 0.15 < time.monotonic() - started < 1


def test_what_is_no_message_is_a_wire_error(endpoint: str) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as stranger, Subscriber(endpoint) as subscriber:
        stranger.bind(endpoint)
        time.sleep(0.3)
        stranger.send_multipart([b"otolith/1/kitchen/gap", b"\xc1"])
        with pytest.raises(WireError, match="malformed message"):
            subscriber.receive(2)
