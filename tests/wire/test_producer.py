"""The producer: what it pushes arrives, and what cannot leave is counted, told, and never waited for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from otolith import Producer
from otolith.errors import WireError
from otolith.sources.network.ingest import Ingest
from otolith.sources.network.roster import Arrival, Ended, Opened
from otolith.wire import producer as producing
from otolith.wire.block import RefusedError
from tests.faults.flood import hello
from tests.sources.producing import SOUND, ingest_on, lost_of, samples_of


class Listened:
    """An ingest that is listened to in a thread of its own; all that arrived, in `arrivals`."""

    def __init__(self, ingest: Ingest) -> None:
        self.ingest, self._arrivals = ingest, list[Arrival]()
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            self.ingest.wait(0.05)
            with self._lock:
                self._arrivals += self.ingest.receive()

    @property
    def arrivals(self) -> list[Arrival]:
        """All until now: who was answered is among them, though his answer leaves first."""
        with self._lock:
            return self._arrivals

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.ingest.close()


@contextmanager
def listened(*bind: str, **options: Any) -> Iterator[Listened]:
    listened = Listened(ingest_on(*bind, **options))
    try:
        yield listened
    finally:
        listened.stop()


def push_all(producer: Producer, blocks: list[Any], pause_s: float = 0.002) -> None:
    for block in blocks:
        producer.push(block)
        time.sleep(pause_s)


def pushed(listened: Listened, blocks: list[Any], **options: Any) -> tuple[Producer, list[Arrival]]:
    """A producer that pushed blocks and closed, and what had arrived by then."""
    producer = Producer(listened.ingest.endpoints[0], **{"stream": "kitchen", "rate": 16000, **options})
    push_all(producer, blocks)
    assert producer.close()
    return producer, listened.arrivals


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_samples_arrive_as_they_were_pushed(dtype: type) -> None:
    sound = SOUND if dtype == np.int16 else (SOUND / 32768).astype(dtype)
    with listened() as there:
        producer, arrivals = pushed(there, np.split(sound, 10))
    np.testing.assert_array_equal(
        samples_of(arrivals, "kitchen"), sound.astype(np.result_type(dtype, np.int16), copy=False)
    )
    assert (lost_of(arrivals), producer.lost, producer.is_welcome) == (0, 0, True)
    assert isinstance(arrivals[-1], Ended)


def test_rows_arrive_as_they_were_pushed() -> None:
    rows = np.arange(60).reshape(-1, 6)
    with listened() as there:
        _, arrivals = pushed(there, [rows, rows.tolist()], kind="sensor", rate=100, channels=6)
    assert arrivals[0] == Opened("kitchen", "sensor", 100, 6)
    np.testing.assert_array_equal(np.concatenate([b.samples for b in arrivals[1].blocks])[:10], rows)  # type: ignore[union-attr]


def test_a_block_of_any_length_is_cut_and_its_pieces_have_their_own_times() -> None:
    long = np.tile(SOUND, 10)
    with listened(max_bytes_per_stream=1 << 20) as there:
        producer = Producer(there.ingest.endpoints[0], stream="kitchen", rate=16000, held_s=60)
        producer.push(long)
        assert producer.close()
        arrivals = there.arrivals
    np.testing.assert_array_equal(samples_of(arrivals, "kitchen"), long)
    blocks = [block for arrival in arrivals[1:-1] for block in arrival.blocks]  # type: ignore[union-attr]
    assert blocks[1].time_ns - blocks[0].time_ns == round(len(blocks[1].samples) / 16000 * 1e9)


def test_what_the_caller_lost_becomes_a_gap() -> None:
    with listened() as there:
        with Producer(there.ingest.endpoints[0], stream="kitchen", rate=16000) as producer:
            producer.push(SOUND[:100])
            producer.push(SOUND[:100], lost=40)
        assert lost_of(there.arrivals) == 40


def test_without_a_daemon_a_push_never_waits_and_the_oldest_are_lost(tmp_path: Path) -> None:
    with Producer(f"zmq+ipc://{tmp_path}/nobody.sock", stream="kitchen", rate=16000, held_s=0.1) as producer:
        started_s = time.monotonic()
        for block in np.split(SOUND, 100):
            producer.push(block)
        assert time.monotonic() - started_s < 0.5
        assert producer.lost == 16000 - 1600
        assert not producer.wait(0.05)
        assert not producer.close(0.1)


def test_a_daemon_that_comes_later_hears_what_was_held_and_then_what_comes() -> None:
    with listened() as there:
        endpoint = there.ingest.endpoints[0]
    producer = Producer(endpoint, stream="kitchen", rate=16000, held_s=0.1)
    for block in np.split(SOUND, 10):
        producer.push(block)
    with listened(endpoint) as there:
        assert producer.wait(5)
        producer.push(SOUND)
        assert producer.close()
        heard = samples_of(there.arrivals, "kitchen")
    np.testing.assert_array_equal(heard, np.concatenate([SOUND[-1600:], SOUND]))


def test_it_never_pings_since_libzmq_aborts_a_late_daemon_for_that() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"zmq+tcp://127.0.0.1:{server.getsockname()[1]}"
        with Producer(endpoint, stream="kitchen", rate=16000) as producer, server.accept()[0] as line:
            line.sendall(hello(b"ROUTER"))
            line.settimeout(0.1)
            brought = b""
            for _ in range(25):  # a heartbeat would come each second
                producer.push(SOUND[:10])
                with suppress(TimeoutError):
                    brought += line.recv(1 << 16)
                    time.sleep(0.1)
            producer.close(0)
    assert b"kitchen" in brought
    assert b"PING" not in brought


def test_a_daemon_that_hangs_loses_samples_and_every_one_is_declared() -> None:
    """Nobody reads: the queues between fill, the producer lets go of its oldest, and the daemon counts them later."""
    ingest = ingest_on()
    producer = Producer(ingest.endpoints[0], stream="kitchen", rate=16000, held_s=0.5)
    seconds = 60
    for block in np.split(np.tile(SOUND, seconds), seconds * 10):
        producer.push(block)
        time.sleep(0.0005)
    assert producer.lost > 0
    there = Listened(ingest)
    assert producer.close(10)
    there.stop()
    assert len(samples_of(there.arrivals, "kitchen")) == seconds * 16000
    assert lost_of(there.arrivals) >= producer.lost


def test_a_refusal_that_lasts_is_raised_at_once() -> None:
    with listened(admit=lambda opened: f"no route for {opened.stream}") as there:
        with (
            Producer(there.ingest.endpoints[0], stream="kitchen", rate=16000) as producer,
            pytest.raises(RefusedError, match=r"refuses it \(unrouted\): no route for kitchen") as refused,
        ):
            push_all(producer, np.split(SOUND, 100), 0.01)
        assert refused.value.reason == "unrouted"


def until_welcome(producer: Producer, timeout_s: float = 5) -> None:
    """Push a little at a time until the daemon has taken a block."""
    deadline_s = time.monotonic() + timeout_s
    while not producer.is_welcome:
        assert time.monotonic() < deadline_s, "never taken"
        push_all(producer, [SOUND[:160]], 0.02)


def test_a_refusal_that_passes_is_borne_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    with listened(max_streams=1) as there:
        first, second, third = (
            Producer(there.ingest.endpoints[0], stream=name, rate=16000) for name in ("kitchen", "cellar", "attic")
        )
        until_welcome(first)  # what has left may still be read behind another's
        push_all(second, np.split(SOUND[:1600], 10), 0.02)
        assert not second.is_welcome
        assert first.close()
        until_welcome(second)
        monkeypatch.setattr(producing, "PATIENCE_S", -1.0)
        with third, pytest.raises(RefusedError, match="max_streams"):
            push_all(third, np.split(SOUND, 100), 0.02)
        assert second.close()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"stream": "a/b"}, "stream name"),
        ({"rate": 0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"channels": 0}, "channels"),
        ({"kind": "smell"}, "kind"),
        ({"endpoint": "here"}, "write zmq"),
    ],
)
def test_what_no_daemon_could_take_is_refused_before_anything_is_sent(options: dict[str, Any], why: str) -> None:
    with pytest.raises(WireError, match=why):
        Producer(**{"endpoint": "zmq+tcp://127.0.0.1:7312", "stream": "kitchen", "rate": 16000, **options})


@pytest.mark.parametrize("block", [np.zeros((2, 2), np.int16), [1, 2, 3], np.zeros(4, np.int32), 7.0])
def test_a_block_of_another_shape_or_type_is_told(block: Any) -> None:
    with Producer(stream="kitchen", rate=16000) as producer, pytest.raises(WireError, match="kitchen"):
        producer.push(block)


def test_many_producers_may_share_one_context() -> None:
    with listened(max_streams_per_s=1000) as there, zmq.Context() as context:
        endpoint = there.ingest.endpoints[0]
        many = [Producer(endpoint, stream=f"s{n}", rate=16000, context=context) for n in range(50)]
        for producer in many:
            producer.push(SOUND[:160])
        assert all(producer.close() for producer in many)
        assert sum(isinstance(arrival, Ended) for arrival in there.arrivals) == 50
