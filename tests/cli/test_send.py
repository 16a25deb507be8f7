"""`otolith send` as a process: what a file, a pipe or rows hold is heard, and what goes wrong is told in a line."""

from __future__ import annotations

import fcntl
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import soundfile

from otolith.sources.network.ingest import Ingest
from otolith.sources.network.roster import Ended, Opened, Received
from tests.conftest import ROOT
from tests.processes import OTOLITH, run_otolith
from tests.sources.producing import SOUND, all_ended, arrivals_of, ingest_on, lost_of, samples_of


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[Ingest]:
    with ingest_on(f"zmq+ipc://{tmp_path}/in.sock") as ingest:
        yield ingest


def sending(ingest: Ingest, *arguments: str | Path) -> subprocess.Popen[bytes]:
    spec, *rest = map(str, arguments)
    command = [*OTOLITH, "send", spec, ingest.endpoints[0], "--stream", "kitchen", *rest]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_recording_is_heard_at_its_own_pace(ingest: Ingest, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", SOUND, 16000)
    with sending(ingest, f"recording:{tmp_path}/clip.wav") as sender:
        arrivals = arrivals_of(ingest, lambda arrivals: bool(arrivals))
        started_s = time.monotonic()
        arrivals += arrivals_of(ingest, all_ended())
        assert sender.wait(10) == 0
    assert 0.8 < time.monotonic() - started_s < 3
    assert arrivals[0] == Opened("kitchen", "audio", 16000, 1)
    np.testing.assert_allclose(samples_of(arrivals, "kitchen") * 32768, SOUND, atol=0.01)


def test_a_pipe_is_heard_to_its_last_sample(ingest: Ingest) -> None:
    with sending(ingest, "pipe:?rate=48000") as sender:
        assert sender.stdin is not None
        sender.stdin.write(SOUND.tobytes())
        sender.stdin.close()
        arrivals = arrivals_of(ingest, all_ended())
        assert sender.wait(10) == 0
    assert arrivals[0] == Opened("kitchen", "audio", 48000, 1)
    np.testing.assert_array_equal(samples_of(arrivals, "kitchen"), SOUND)
    assert lost_of(arrivals) == 0


def test_rows_are_heard_in_the_order_that_was_asked_for(ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "run.csv").write_text("t,a,b\n" + "".join(f"{i / 100},{i},{-i}\n" for i in range(50)))
    with sending(ingest, f"recording:{tmp_path}/run.csv", "--channels", "b,a") as sender:
        arrivals = arrivals_of(ingest, all_ended())
        assert sender.wait(10) == 0
    assert arrivals[0] == Opened("kitchen", "sensor", pytest.approx(100), 2)
    rows = np.concatenate([b.samples for a in arrivals if isinstance(a, Received) for b in a.blocks])
    np.testing.assert_array_equal(rows, [[-i, i] for i in range(50)])


def test_an_interrupt_says_goodbye(ingest: Ingest) -> None:
    with sending(ingest, "pipe:") as sender:
        assert sender.stdin is not None
        sender.stdin.write(SOUND[:1600].tobytes())
        sender.stdin.flush()
        arrivals = arrivals_of(ingest, lambda arrivals: len(samples_of(arrivals, "kitchen")) >= 1600)
        sender.send_signal(signal.SIGINT)
        arrivals += arrivals_of(ingest, all_ended())
        assert sender.wait(10) == 0
    assert arrivals[-1] == Ended("kitchen", "the producer said goodbye")


def test_a_refusal_exits_with_1_and_says_why(tmp_path: Path) -> None:
    with (
        ingest_on(admit=lambda opened: f"no route takes {opened.stream}") as ingest,
        sending(ingest, "pipe:") as sender,
    ):
        assert sender.stdin is not None
        sender.stdin.write(bytes(64000))
        sender.stdin.close()
        arrivals_of(ingest, lambda _arrivals: sender.poll() is not None)
        assert sender.stderr is not None
        said = sender.stderr.read().decode()
    assert sender.returncode == 1
    assert "the daemon refuses it (unrouted): no route takes kitchen" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["pipe:"], 2, "--stream"),
        (["tape:", "--stream", "kitchen"], 2, "begins with none of"),
        (["recording:a.wav?pace=none", "--stream", "kitchen"], 2, "listens in real time"),
        (["pipe:", "--stream", "kitchen", "--rate", "100"], 2, "name the --channels"),
        (["pipe:", "--stream", "kitchen", "--channels", "a,b"], 2, "add --rate"),
        (["pipe:", "--stream", "kitchen", "--channels", "a,,b"], 2, "name each once"),
        (["recording:gone.wav", "--stream", "kitchen"], 1, "gone.wav"),
        (["pipe:", "--stream", "a/b"], 1, "stream name"),
        (["pipe:", "here", "--stream", "kitchen"], 1, "write zmq"),
    ],
)
def test_what_cannot_be_sent_is_told(arguments: list[str], code: int, why: str) -> None:
    found, _, said = run_otolith("send", *arguments)
    assert (found, "Traceback" in said) == (code, False)
    assert why in said


def test_the_example_is_heard(ingest: Ingest) -> None:
    command = [sys.executable, ROOT / "examples" / "send.py", "kitchen", ingest.endpoints[0]]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as example:
        assert example.stdin is not None
        example.stdin.write(SOUND.tobytes())
        example.stdin.close()
        arrivals = arrivals_of(ingest, all_ended())
        assert example.wait(10) == 0
    np.testing.assert_array_equal(samples_of(arrivals, "kitchen"), SOUND)


def test_nothing_to_send_is_nothing_wrong(ingest: Ingest) -> None:
    assert run_otolith("send", "pipe:", ingest.endpoints[0], "--stream", "kitchen")[::2] == (0, "")


def unread(pipe: IO[bytes]) -> int:
    """Bytes that its reader has not taken yet."""
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


def test_no_daemon_is_told(tmp_path: Path) -> None:
    endpoint = f"zmq+ipc://{tmp_path}/nobody.sock"
    command = [*OTOLITH, "send", "pipe:", endpoint, "--stream", "kitchen"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as sender:
        assert sender.stdin is not None
        assert sender.stderr is not None
        sender.stdin.write(bytes(3200))
        sender.stdin.flush()
        while unread(sender.stdin):
            time.sleep(0.01)
        sender.terminate()
        said = sender.stderr.read().decode()
        sender.stdin.close()
    assert sender.returncode == 1
    assert "is a daemon running, with [ingest] in its settings?" in said
