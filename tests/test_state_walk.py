"""Walks over a restart: a real daemon is stopped or killed, and the next one goes on with what it knew."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from otolith import Model, Producer, Stream, Subscriber
from otolith.inference.events import Posteriors
from otolith.wire.messages import AnyMessage, GapMessage, PosteriorsMessage, StatusMessage
from tests.conftest import ROOT
from tests.processes import DaemonProcess

WORDS = ROOT / "exported_models" / "words.onnx"
BLOCK = 1280


class Walk:
    """A producer and a subscriber that outlive the daemons between them."""

    def __init__(self, folder: Path, endpoint: str, workers: int = 1) -> None:
        self.endpoint, self.settings = endpoint, folder / "otolith.toml"
        self.ingest, self.state = f"zmq+ipc://{folder}/ingest", folder / "state"
        self.settings.write_text(
            f'publish = "{endpoint}"\nworkers = {workers}\n'
            '[state]\nfolder = "state"\nperiod_s = 0.2\nresume_within_s = 60\n'
            f'[ingest]\nbind = ["{self.ingest}"]\n'
            f'[[route]]\npattern = "*"\nmodel = "{WORDS}"\nposteriors_per_s = 50\n'
        )
        self.messages: list[AnyMessage] = []

    def daemon(self) -> DaemonProcess:
        return DaemonProcess(str(self.settings))

    def hear_until(self, subscriber: Subscriber, is_enough: Callable[[AnyMessage], bool]) -> AnyMessage:
        """Keep what comes, up to the first message that is enough."""
        deadline_s = time.monotonic() + 30
        while time.monotonic() < deadline_s:
            if (message := subscriber.receive(0.2)) is not None:
                self.messages.append(message)
                if is_enough(message):
                    return message
        raise AssertionError(f"it never came; {self.messages[-3:]}")

    def wait_until_kept(self) -> None:
        """Until each process has written its state twice: all that has been told is in it."""
        deadline_s = time.monotonic() + 30
        for _ in range(2):
            before_ns = {path: path.stat().st_mtime_ns for path in self.state.glob("*.state")}
            while any(path.stat().st_mtime_ns == written_ns for path, written_ns in before_ns.items()):
                assert time.monotonic() < deadline_s, "no state is written"
                time.sleep(0.02)

    def of(self, stream: str) -> list[AnyMessage]:
        return [message for message in self.messages if message.stream == stream]


def push(producer: Producer, samples: NDArray[np.int16]) -> None:
    for start in range(0, len(samples), BLOCK):
        producer.push(samples[start : start + BLOCK])
        while not producer.wait(10):
            pass


def stands_at(stream: str, position: int) -> Callable[[AnyMessage], bool]:
    return lambda m: isinstance(m, PosteriorsMessage) and m.stream == stream and m.position == position


def greet(walk: Walk, subscriber: Subscriber, samples: NDArray[np.int16], name: str) -> None:
    """Push until something is heard: the subscriber is connected by then."""
    with Producer(walk.ingest, stream=name, rate=16000) as producer:
        while subscriber.receive(0.1) is None:
            producer.push(samples[:BLOCK])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stream_that_lost_nothing_over_a_clean_restart_is_told_as_if_there_had_been_none(
    workers: int, endpoint: str, tmp_path: Path, sound: NDArray[np.float32], words: Model
) -> None:
    pushed = np.round(sound[:48000] * 32767).astype(np.int16)
    stopped_at = 20 * BLOCK - 300  # within a frame
    walk = Walk(tmp_path, endpoint, workers)
    with Subscriber(endpoint) as subscriber, Producer(walk.ingest, stream="room", rate=16000) as producer:
        with walk.daemon() as daemon:
            greet(walk, subscriber, pushed, "guest-1")
            push(producer, pushed[:stopped_at])
            walk.hear_until(subscriber, stands_at("room", stopped_at // 320 * 320))
            assert daemon.stop() < 2
            last = walk.hear_until(subscriber, lambda m: isinstance(m, StatusMessage) and bool(m.kept))
            assert isinstance(last, StatusMessage)
            assert last.kept == stopped_at % 320
        with walk.daemon():
            greet(walk, subscriber, pushed, "guest-2")
            push(producer, pushed[stopped_at:])
            walk.hear_until(subscriber, stands_at("room", 48000))
            status = walk.hear_until(subscriber, lambda m: isinstance(m, StatusMessage) and m.stream == "room")
    assert isinstance(status, StatusMessage)
    assert status.began == "resumed"
    assert len({m.boot for m in walk.of("room")}) == 2
    assert not [m for m in walk.of("room") if isinstance(m, GapMessage)]
    heard = np.concatenate([m.array() for m in walk.of("room") if isinstance(m, PosteriorsMessage)])
    [expected] = [event.values for event in Stream(words).push(pushed) if isinstance(event, Posteriors)]
    np.testing.assert_allclose(heard, expected, atol=1e-5)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_daemon_that_was_killed_goes_on_and_tells_what_was_lost(
    workers: int, endpoint: str, tmp_path: Path, sound: NDArray[np.float32]
) -> None:
    pushed = np.round(sound * 32767).astype(np.int16)
    walk = Walk(tmp_path, endpoint, workers)
    with Subscriber(endpoint) as subscriber, Producer(walk.ingest, stream="room", rate=16000) as producer:
        with walk.daemon() as daemon:
            greet(walk, subscriber, pushed, "guest-1")
            push(producer, pushed[: 20 * BLOCK])
            walk.hear_until(subscriber, stands_at("room", 20 * BLOCK))
            walk.wait_until_kept()
            daemon.stop(signal.SIGKILL)
        lost = producer.lost
        with walk.daemon():
            greet(walk, subscriber, pushed, "guest-2")
            producer.push(pushed[25 * BLOCK : 26 * BLOCK], lost=5 * BLOCK)
            push(producer, pushed[26 * BLOCK : 35 * BLOCK])
            gap = walk.hear_until(subscriber, lambda m: isinstance(m, GapMessage) and m.stream == "room")
            status = walk.hear_until(subscriber, lambda m: isinstance(m, StatusMessage) and m.stream == "room")
    assert lost == 0
    assert isinstance(gap, GapMessage)
    assert (gap.lost, gap.position) == (5 * BLOCK, 20 * BLOCK)
    assert gap.reason == "the daemon was restarted; its state was kept"
    assert isinstance(status, StatusMessage)
    assert status.began == f"resumed: {5 * BLOCK} samples lost"
    [first, *_] = [m for m in walk.of("room") if isinstance(m, PosteriorsMessage) and m.boot == gap.boot]
    assert first.position - 320 * first.frames == 25 * BLOCK


def test_a_full_disk_is_told_in_every_status_until_it_heals_and_predictions_go_on(
    endpoint: str, tmp_path: Path, sound: NDArray[np.float32]
) -> None:
    pushed = np.round(sound * 32767).astype(np.int16)
    walk = Walk(tmp_path, endpoint)
    with (
        Subscriber(endpoint) as subscriber,
        Producer(walk.ingest, stream="room", rate=16000) as producer,
        walk.daemon() as daemon,
    ):
        greet(walk, subscriber, pushed, "guest")
        push(producer, pushed[:BLOCK])
        walk.hear_until(subscriber, stands_at("room", BLOCK))
        _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        ailing = walk.hear_until(subscriber, lambda m: isinstance(m, StatusMessage) and bool(m.degraded))
        push(producer, pushed[BLOCK : 5 * BLOCK])
        walk.hear_until(subscriber, stands_at("room", 5 * BLOCK))
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        walk.hear_until(subscriber, lambda m: isinstance(m, StatusMessage) and not m.degraded and m.stream == "room")
        assert daemon.stop() < 2
    assert isinstance(ailing, StatusMessage)
    assert ailing.degraded.startswith("state: ")
    assert ailing.degraded.endswith("File too large")
    assert (walk.state / "0.state").exists()
