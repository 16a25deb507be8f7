"""Strangers to an ingest, who send what they like; and what arrives of them, put together again."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from otolith.settings import IngestSettings
from otolith.sources.network.ingest import Ingest
from otolith.sources.network.roster import Arrival, Ended, Opened, Received
from otolith.wire.block import Answer, Header, decode_answer, encode_block

TCP = "zmq+tcp://127.0.0.1:*"
UDP = "udp://127.0.0.1:0"
HEADER = Header(boot="b", seq=0, kind="audio", format="s16le", rate=16000)
SOUND = np.random.default_rng(0).integers(-30000, 30000, 16000, np.int16)


def ingest_on(*bind: str, admit: Callable[[Opened], str] | None = None, **limits: Any) -> Ingest:
    settings = IngestSettings(bind=list(bind) or [TCP], **limits)
    return Ingest(settings, admit) if admit else Ingest(settings)


def arrivals_of(ingest: Ingest, until: Callable[[list[Arrival]], bool], timeout_s: float = 5) -> list[Arrival]:
    """What arrives until `until` says that it is enough."""
    arrivals: list[Arrival] = []
    deadline_s = time.monotonic() + timeout_s
    while not until(arrivals):
        assert time.monotonic() < deadline_s, (arrivals[:20], ingest.faults)
        ingest.wait(0.05)
        arrivals += ingest.receive()
    return arrivals


def all_ended(count: int = 1) -> Callable[[list[Arrival]], bool]:
    return lambda arrivals: sum(isinstance(arrival, Ended) for arrival in arrivals) >= count


def samples_of(arrivals: list[Arrival], stream: str) -> NDArray[Any]:
    """A stream put together again, with zeros where samples were declared lost."""
    pieces: list[NDArray[Any]] = [np.zeros(0, np.int16)]
    for arrival in arrivals:
        if isinstance(arrival, Received) and arrival.stream == stream:
            for block in arrival.blocks:
                pieces += [np.zeros(block.lost, np.int16), block.samples]
    return np.concatenate(pieces)


def lost_of(arrivals: list[Arrival]) -> int:
    return sum(block.lost for arrival in arrivals if isinstance(arrival, Received) for block in arrival.blocks)


class Stranger:
    """A DEALER of somebody's own program."""

    def __init__(self, endpoint: str, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDHWM, 10_000)
        self.socket.connect(endpoint.removeprefix("zmq+"))

    def send(self, seq: int, samples: NDArray[Any] = SOUND[:160], stream: str = "kitchen", **changes: Any) -> None:
        header = msgspec.structs.replace(HEADER, seq=seq, **changes)
        self.socket.send_multipart(encode_block(stream, header, samples), zmq.NOBLOCK)

    def answers(self, wait_ms: int = 300) -> list[Answer]:
        answers = []
        while self.socket.poll(wait_ms):
            answers.append(decode_answer(self.socket.recv_multipart()))
        return answers


@contextmanager
def strangers(endpoint: str, count: int) -> Iterator[list[Stranger]]:
    with zmq.Context() as context:
        them = [Stranger(endpoint, context) for _ in range(count)]
        yield them
        for stranger in them:
            stranger.socket.close()


@contextmanager
def datagrams_to(endpoint: str) -> Iterator[Callable[[bytes], int]]:
    host, _, port = endpoint.removeprefix("udp://").rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        yield lambda data: sender.sendto(data, (host, int(port)))
