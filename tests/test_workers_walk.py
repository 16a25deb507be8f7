"""The walk over several workers: real processes, some of which die, and what subscribers are told of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from otolith import Model, Producer, Stream, Subscriber
from otolith.inference.events import Posteriors
from otolith.wire.line import worker_of
from otolith.wire.messages import AnyMessage, GapMessage, PosteriorsMessage
from tests.processes import DaemonProcess, children_of, is_alive, run_otolith

HOP, BLOCK = 320, 1280
NAMES = [f"kitchen-{number}" for number in range(8)]


@pytest.fixture
def ingest(tmp_path: Path) -> str:
    return f"zmq+ipc://{tmp_path}/ingest"


@pytest.fixture
def settings(endpoint: str, ingest: str, tmp_path: Path, tiny_audio_file: Path) -> str:
    path = tmp_path / "otolith.toml"
    path.write_text(
        f'publish = "{endpoint}"\nworkers = 2\n[ingest]\nbind = ["{ingest}"]\n'
        f'[[route]]\npattern = "kitchen-*"\nmodel = "{tiny_audio_file}"\nposteriors_per_s = 50\n'
    )
    return str(path)


@pytest.fixture
def producers(ingest: str) -> Iterator[list[Producer]]:
    with ExitStack() as stack:
        producers = [Producer(ingest, stream=name, rate=16000) for name in NAMES]
        for producer in producers:
            stack.callback(producer.close, linger_s=0)  # by then, nobody is there to say goodbye to
        yield producers


def by_stream(messages: list[AnyMessage]) -> dict[str, list[AnyMessage]]:
    return {name: [m for m in messages if m.stream == name] for name in NAMES}


def values_of(messages: list[AnyMessage]) -> NDArray[np.float32]:
    return np.concatenate([m.array() for m in messages if isinstance(m, PosteriorsMessage)])


def told_of(messages: list[AnyMessage]) -> int:
    """Samples behind posteriors, and those in gaps."""
    return sum(
        m.frames * HOP if isinstance(m, PosteriorsMessage) else m.lost if isinstance(m, GapMessage) else 0
        for m in messages
    )


def listen(
    subscriber: Subscriber, is_enough: Callable[[list[AnyMessage]], bool], timeout_s: float = 10
) -> list[AnyMessage]:
    messages: list[AnyMessage] = []
    deadline_s = time.monotonic() + timeout_s
    while not is_enough(messages):
        assert time.monotonic() < deadline_s, f"only {len(messages)} messages"
        if (message := subscriber.receive(0.2)) is not None:
            messages.append(message)
    return messages


def push(producers: list[Producer], sound: NDArray[np.int16]) -> None:
    for start in range(0, len(sound), BLOCK):
        for producer in producers:
            producer.push(sound[start : start + BLOCK])
        time.sleep(0.01)


def all_told(pushed: int) -> Callable[[list[AnyMessage]], bool]:
    return lambda messages: all(told_of(heard) >= pushed for heard in by_stream(messages).values())


def wait_for_workers(subscriber: Subscriber, ingest: str) -> None:
    """Until a stream of each worker was heard."""
    for worker in range(2):
        name = next(f"kitchen-warm{n}" for n in range(99) if worker_of(f"kitchen-warm{n}".encode(), 2) == worker)
        with Producer(ingest, stream=name, rate=16000) as producer:
            deadline_s = time.monotonic() + 30
            while not ((message := subscriber.receive(0.1)) and message.stream == name):
                assert time.monotonic() < deadline_s
                producer.push(np.zeros(BLOCK, np.int16))


@pytest.fixture
def pcm(sound: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.round(sound[:32000] * 32767).astype(np.int16)


def test_streams_are_spread_and_each_is_heard_as_the_model_alone_would_say_it(
    settings: str, endpoint: str, ingest: str, producers: list[Producer], pcm: NDArray[np.int16], tiny_audio: Model
) -> None:
    with DaemonProcess(settings) as daemon, Subscriber(endpoint) as subscriber:
        wait_for_workers(subscriber, ingest)
        push(producers, pcm)
        messages = listen(subscriber, all_told(len(pcm)))
        daemon_pid = daemon.process.pid
        workers = children_of(daemon_pid)
        assert daemon.stop() < 1.5
        assert daemon.wait()[0] == 0
    assert len(workers) == 2
    assert not any(is_alive(pid) for pid in workers)
    expected = Stream(tiny_audio).push(pcm)[0]
    assert isinstance(expected, Posteriors)
    boots = {}
    for name, heard in by_stream(messages).items():
        np.testing.assert_allclose(values_of(heard), expected.values, atol=1e-4)
        (boots[name],) = {message.boot for message in heard}
    assert len(set(boots.values())) == 2
    assert all(
        (boots[a] == boots[b]) == (worker_of(a.encode(), 2) == worker_of(b.encode(), 2)) for a in NAMES for b in NAMES
    )
    assert subscriber.missed == 0


def test_workers_die_with_the_daemon(settings: str, endpoint: str, ingest: str) -> None:
    with DaemonProcess(settings) as daemon, Subscriber(endpoint) as subscriber:
        wait_for_workers(subscriber, ingest)
        workers = children_of(daemon.process.pid)
        daemon.process.kill()
        daemon.process.wait()
        deadline_s = time.monotonic() + 2
        while any(is_alive(pid) for pid in workers):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)


def test_settings_that_a_worker_refuses_end_the_daemon_as_they_would_without_workers(settings: str) -> None:
    path = Path(settings)
    path.write_text(path.read_text() + "[route.detector.maybe]\nthreshold = 0.5\n")
    code, _, said = run_otolith("run", settings)
    assert code == 78
    assert 'route "kitchen-*": detector.maybe' in said


def test_a_check_tells_of_the_workers(settings: str) -> None:
    code, out, _ = run_otolith("check", settings)
    assert code == 0
    assert "spreads its streams over 2 workers" in out
