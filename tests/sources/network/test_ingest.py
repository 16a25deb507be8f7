"""Ingest through real sockets: what is sent arrives, what is hostile is counted, and nobody suffers for another."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zmq

from otolith.errors import SettingsError, WireError
from otolith.sources.network.roster import Ended, Opened, Received
from otolith.wire.block import MAX_BLOCK_BYTES
from tests.sources.producing import (
    SOUND,
    TCP,
    all_ended,
    arrivals_of,
    ingest_on,
    lost_of,
    samples_of,
    strangers,
)


def counted(faults: Counter[str], reason: str, count: int) -> Callable[[object], bool]:
    return lambda _arrivals: faults[reason] >= count


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_samples_arrive_as_they_were_sent(kind: str, tmp_path: Path) -> None:
    bind = TCP if kind == "tcp" else f"zmq+ipc://{tmp_path}/in.sock"
    with ingest_on(bind) as ingest, strangers(ingest.endpoints[0], 1) as (stranger,):
        for seq in range(0, 16000, 1000):
            stranger.send(seq, SOUND[seq : seq + 1000])
        stranger.send(16000, SOUND[:0], end=True)
        arrivals = arrivals_of(ingest, all_ended())
        assert [answer.kind for answer in stranger.answers()] == ["welcome", "goodbye"]
    assert arrivals[0] == Opened("kitchen", "audio", 16000, 1)
    np.testing.assert_array_equal(samples_of(arrivals, "kitchen"), SOUND)
    assert lost_of(arrivals) == 0


def test_a_thousand_streams_come_and_go() -> None:
    with ingest_on(max_streams_per_s=10_000) as ingest, strangers(ingest.endpoints[0], 10) as producers:
        for number in range(1000):
            producer, name = producers[number % 10], f"stream-{number}"
            producer.send(0, SOUND[number : number + 160], name)
            producer.send(160, SOUND[:0], name, end=True)
        arrivals = arrivals_of(ingest, all_ended(1000))
        assert len(ingest) == 0
        for number in range(0, 1000, 97):
            np.testing.assert_array_equal(samples_of(arrivals, f"stream-{number}"), SOUND[number : number + 160])
        assert not ingest.faults


def test_a_limit_is_told_to_who_passes_it_and_to_nobody_else() -> None:
    with ingest_on(max_streams=1, max_streams_per_s=1000) as ingest, strangers(ingest.endpoints[0], 2) as (first, late):
        first.send(0)
        arrivals_of(ingest, lambda arrivals: len(arrivals) >= 2)
        for seq in range(0, 3200, 160):
            late.send(seq, stream="cellar")
        first.send(160)
        arrivals_of(ingest, counted(ingest.faults, "crowded", 20))
        (told,) = late.answers()  # once, not twenty times
        assert (told.kind, told.reason, told.passing) == ("refused", "crowded", True)
        assert "max_streams" in told.text
        assert [answer.kind for answer in first.answers()] == ["welcome"]


def test_two_producers_of_one_name_do_not_mix() -> None:
    with ingest_on() as ingest, strangers(ingest.endpoints[0], 2) as (first, second):
        first.send(0, SOUND[:100])
        arrivals = arrivals_of(ingest, lambda arrivals: len(arrivals) >= 2)
        second.send(0, SOUND[500:600], boot="another")
        arrivals += arrivals_of(ingest, counted(ingest.faults, "taken", 1))
        first.send(100, SOUND[100:200], end=True)
        arrivals += arrivals_of(ingest, all_ended())
        assert [answer.reason for answer in second.answers()] == ["taken"]
    np.testing.assert_array_equal(samples_of(arrivals, "kitchen"), SOUND[:200])


def test_a_stream_that_cannot_be_served_is_told_why() -> None:
    def admit(opened: Opened) -> str:
        return "" if opened.stream == "kitchen" else f"no route takes {opened.stream}"

    with ingest_on(admit=admit) as ingest, strangers(ingest.endpoints[0], 1) as (stranger,):
        stranger.send(0, stream="cellar")
        stranger.send(0)
        arrivals = arrivals_of(ingest, lambda arrivals: len(arrivals) >= 2)
        assert {arrival.stream for arrival in arrivals} == {"kitchen"}
        refused, welcome = stranger.answers()
        assert (refused.reason, refused.text, refused.passing) == ("unrouted", "no route takes cellar", False)
        assert welcome.kind == "welcome"


def test_hostile_bytes_are_counted_and_the_others_heard() -> None:
    rng = np.random.default_rng(0)
    with ingest_on() as ingest, strangers(ingest.endpoints[0], 2) as (hostile, good):
        for number in range(300):
            parts = [rng.bytes(int(rng.integers(0, 300))) for _ in range(1 + number % 6)]
            hostile.socket.send_multipart(parts)
        hostile.socket.send_multipart([b""] * 20_000)
        hostile.send(0, np.zeros(MAX_BLOCK_BYTES, np.int16))
        for seq in range(0, 1600, 160):
            good.send(seq, SOUND[seq : seq + 160])
        good.send(1600, SOUND[:0], end=True)
        arrivals = arrivals_of(ingest, all_ended())
        arrivals_of(ingest, counted(ingest.faults, "oversized", 1))
        assert ingest.faults["malformed"] == 301
        np.testing.assert_array_equal(samples_of(arrivals, "kitchen"), SOUND[:1600])


def test_a_part_beyond_all_bounds_costs_its_sender_the_connection() -> None:
    with ingest_on() as ingest, strangers(ingest.endpoints[0], 2) as (hostile, good):
        hostile.socket.send_multipart([b"kitchen", bytes(8 << 20), b""])
        good.send(0, end=True)
        arrivals = arrivals_of(ingest, all_ended())
        assert [type(arrival) for arrival in arrivals] == [Opened, Received, Ended]


def test_a_flood_starves_nobody() -> None:
    """One producer sends as fast as it can; another's ten blocks in a second all come, and every wake-up is short."""
    stop = threading.Event()
    with ingest_on(max_bytes_per_stream=1 << 16) as ingest, strangers(ingest.endpoints[0], 2) as (flood, calm):

        def pour() -> None:
            seq = 0
            while not stop.is_set():
                try:
                    flood.send(seq, stream="flood")
                    seq += 160
                except zmq.Again:
                    time.sleep(0.001)

        thread = threading.Thread(target=pour)
        thread.start()
        arrivals, longest_s, most_blocks = [], 0.0, 0
        for seq in range(0, 1600, 160):
            calm.send(seq, SOUND[seq : seq + 160], end=seq == 1440)
            deadline_s = time.monotonic() + 0.1
            while (left_s := deadline_s - time.monotonic()) > 0:
                ingest.wait(left_s)
                started_s = time.thread_time()
                arrived = ingest.receive()
                longest_s = max(longest_s, time.thread_time() - started_s)
                most_blocks = max([most_blocks, *(len(a.blocks) for a in arrived if isinstance(a, Received))])
                arrivals += arrived
                time.sleep(0.02)  # the rest of a wake-up's work
        stop.set()
        thread.join()
    np.testing.assert_array_equal(samples_of(arrivals, "kitchen"), SOUND[:1600])
    assert most_blocks <= 1 << 7  # 64 KiB of blocks that cost 576 bytes each
    assert longest_s < 0.5


def test_a_loop_that_does_not_look_loses_the_oldest_and_every_sample_is_accounted_for() -> None:
    with ingest_on(max_bytes_per_stream=1 << 14) as ingest, strangers(ingest.endpoints[0], 1) as (stranger,):
        for seq in range(0, 16000, 160):
            stranger.send(seq, SOUND[seq : seq + 160])
        stranger.send(16000, SOUND[:0], end=True)
        for _ in range(10):  # what is collected is kept, within the limit
            ingest.wait(0.05)
            ingest.collect()
        arrivals = arrivals_of(ingest, all_ended())
        heard = samples_of(arrivals, "kitchen")
        assert "behind" in [answer.kind for answer in stranger.answers()]
    assert len(heard) == 16000
    assert lost_of(arrivals) > 0
    np.testing.assert_array_equal(heard[-1600:], SOUND[-1600:])


def test_a_silent_stream_ends() -> None:
    with ingest_on(silence_s=0.2) as ingest, strangers(ingest.endpoints[0], 1) as (stranger,):
        stranger.send(0)
        assert arrivals_of(ingest, all_ended())[-1] == Ended("kitchen", "nothing came for 0.2 s")


def test_a_wait_can_be_ended_from_another_thread() -> None:
    with ingest_on() as ingest:
        threading.Timer(0.1, ingest.wake).start()
        started_s = time.monotonic()
        assert ingest.wait(5)
        assert time.monotonic() - started_s < 2
        assert not ingest.wait(0)
        assert ingest.receive() == []


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("tcp://127.0.0.1:7312", "write zmq"),
        ("zmq+tcp://0.0.0.0:7312", "only loopback"),
        ("zmq+ipc:///gone/in.sock", "does not exist"),
        ("udp://0.0.0.0:7313", "name those it serves"),
        ("udp://kitchen:7313", "an IP address and a port"),
        ("udp://127.0.0.1", "an IP address and a port"),
        ("udp://127.0.0.1:99999", "an IP address and a port"),
        ("pigeon://coop", "write zmq"),
    ],
)
def test_an_endpoint_that_is_not_ours_to_open_is_told(endpoint: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        ingest_on(endpoint)


def test_an_endpoint_in_use_is_told_and_the_others_are_let_go(tmp_path: Path) -> None:
    socket_file = f"zmq+ipc://{tmp_path}/in.sock"
    with ingest_on() as first, pytest.raises(WireError, match="cannot be bound"):
        ingest_on(socket_file, first.endpoints[0])
    with ingest_on("udp://127.0.0.1:0") as first, pytest.raises(WireError, match="cannot be bound"):
        ingest_on(socket_file, first.endpoints[0])
    with ingest_on(socket_file), pytest.raises(WireError, match="another daemon holds"):
        ingest_on(socket_file)
    with ingest_on(socket_file):
        assert (tmp_path / "in.sock").stat().st_mode & 0o007 == 0
