"""Faults on the way to the daemon: lossy networks, connections that are reset, pipes that break, clocks that jump."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from otolith.wire.messages import AnyMessage, GapMessage, StatusMessage
from tests.conftest import SOUND
from tests.faults.feeds import DatagramFeed, write_pcm
from tests.faults.house import House, free_port, wait_for
from tests.faults.oracle import Sent, Witness, judge
from tests.faults.relay import Relay
from tests.processes import DaemonProcess

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
NOISE = np.random.default_rng(1).integers(-9000, 9000, 50_000, np.int16)


@pytest.mark.parametrize("loss", [0.3])
def test_of_datagrams_that_are_lost_doubled_or_late_every_sample_is_declared(
    house: House, loss: float, is_full: bool
) -> None:
    feed = DatagramFeed(house.udp, "far", NOISE, seed=7)
    house.add(feed)
    before = house.settle()
    feed.loss = loss
    time.sleep(30 if is_full else 2)
    feed.loss = 0.0
    house.wait_until_told()
    after = house.settle()
    far, seconds = after["far"], after["far"].sent / 16000
    print(f"{far.lost / far.sent:.0%} of {seconds:.0f} s were lost: {far.reasons}")
    assert far.lost > 0.1 * far.sent
    for name in house.feeds.keys() - {"far"}:
        assert after[name].lost == before[name].lost
    feed.close()
    del house.feeds["far"]


def test_of_connections_that_are_reset_every_sample_is_declared(tmp_path: Path, is_full: bool) -> None:
    ports = free_port(), free_port()
    with Relay(ports[1]) as relay, House(tmp_path, ports=ports, feeds_to=f"zmq+tcp://127.0.0.1:{relay.port}") as house:
        for _ in range(20 if is_full else 4):
            time.sleep(0.3)
            relay.reset()
        house.wait_until_told()
        verdicts = house.settle()
    print(verdicts)
    assert all(verdict.untold == verdict.twice == 0 for verdict in verdicts.values())


@contextmanager
def heard_from_a_pipe(folder: Path, model: Path) -> Iterator[tuple[DaemonProcess, Witness, Sent]]:
    endpoint = f"ipc://{folder}/publish"
    arguments = ("--model", str(model), "--source", "pipe:", "--publish", endpoint, "--name", "pipe")
    with Witness(endpoint) as witness, DaemonProcess(*arguments, stdin=subprocess.PIPE) as daemon:
        sent = Sent("pipe", NOISE, held=5)
        assert daemon.process.stdin is not None
        wait_for(lambda: bool(witness.messages))  # a heartbeat: it is listened to by now
        write_pcm(daemon.process.stdin, sent, 3200)
        yield daemon, witness, sent


def close(daemon: DaemonProcess) -> tuple[int, str]:
    """Close its standard input, and wait for its end."""
    assert daemon.process.stdin is not None
    daemon.process.stdin.close()
    daemon.process.stdin = None
    return daemon.wait()


def test_of_a_slow_pipe_all_is_heard_and_one_that_breaks_off_within_a_sample_ends_the_daemon_with_its_reason(
    tmp_path: Path, tiny_audio_file: Path
) -> None:
    with heard_from_a_pipe(tmp_path, tiny_audio_file) as (daemon, witness, sent):
        assert daemon.process.stdin is not None
        for count in (1, 2, 319, 1, 640, 7) * 5:
            write_pcm(daemon.process.stdin, sent, count)
            time.sleep(0.01)
        daemon.process.stdin.write(b"\x01")
        code, said = close(daemon)
        assert code == 1
        assert "ended in the middle of a sample" in said
        wait_for(lambda: judge(witness.messages, sent).left == 0)
    assert judge(witness.messages, sent).lost == sent.total % 320


def test_a_writer_that_is_killed_ends_its_stream_behind_what_was_read(tmp_path: Path, tiny_audio_file: Path) -> None:
    endpoint = f"ipc://{tmp_path}/publish"
    write = "import sys, time\nwhile True: sys.stdout.buffer.write(bytes(1280)); sys.stdout.flush(); time.sleep(.01)"
    with Witness(endpoint) as witness, subprocess.Popen(
        [sys.executable, "-c", write], stdout=subprocess.PIPE
    ) as writer:  # fmt: skip
        arguments = ("--model", str(tiny_audio_file), "--source", "pipe:", "--publish", endpoint, "--name", "pipe")
        with DaemonProcess(*arguments, stdin=writer.stdout) as daemon:
            assert writer.stdout is not None
            writer.stdout.close()
            wait_for(lambda: any(message.stream == "pipe" for message in witness.messages))
            writer.kill()
            code, said = daemon.wait()
            assert code == 0, said
            assert "the input ended" in said
        wait_for(lambda: any(isinstance(m, StatusMessage) for m in witness.messages[-1:]))
    verdict = judge(witness.messages, Sent("pipe", NOISE, total=1 << 30, held=5))
    assert verdict.predicted > 0
    assert verdict.lost == 0, "it wrote whole frames, and all are told of"


@pytest.mark.skipif(not FAKETIME.exists(), reason="needs libfaketime: apt-get install faketime")
def test_a_wall_clock_that_is_set_by_an_hour_each_way_makes_no_gap(tmp_path: Path) -> None:
    """The daemon's clock alone is set, by libfaketime; its monotonic one is left, as by whoever sets a real clock."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    recording = f'[[stream]]\nname = "clip"\nmodel = "model.onnx"\nsource = "recording:{SOUND}"\n'
    with House(tmp_path, timed=False, top=recording, LD_PRELOAD=str(FAKETIME), **environment) as house:
        before = house.settle()
        for offset_s in (3600, -3600):
            seen = len(house.messages)
            clock.write_text(f"{offset_s:+d}")
            wait_for(lambda: any(is_of(m, offset_s) for m in house.messages[seen:]))  # noqa: B023 - called at once
            house.wait_until_told()
        after = house.settle()
        house.daemon.stop()
    assert [v.lost for v in after.values()] == [v.lost for v in before.values()]
    assert not [m for m in house.messages_of("clip") if isinstance(m, GapMessage)]


def is_of(message: AnyMessage, offset_s: float) -> bool:
    """Does it tell the time of a clock that is so far ahead?"""
    return abs(message.time_ns / 1e9 - time.time() - offset_s) < 60
