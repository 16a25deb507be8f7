"""A daemon of several workers reads its settings again: all of them change or none, and a subscriber counts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from otolith import Model, Producer, Subscriber
from otolith.wire.line import worker_of
from otolith.wire.messages import AnyMessage, GapMessage, PosteriorsMessage
from tests.cli.test_reload import reload
from tests.conftest import SOUND
from tests.processes import DaemonProcess, children_of, is_alive
from tests.test_workers_walk import wait_for_workers
from tests.tiny import write_tiny

HOP, BLOCK = 320, 1280
NAMES = [next(f"room-{n}" for n in range(99) if worker_of(f"room-{n}".encode(), 2) == worker) for worker in range(2)]


@pytest.fixture
def ingest(tmp_path: Path) -> str:
    return f"zmq+ipc://{tmp_path}/ingest"


@pytest.fixture
def config(tmp_path: Path, endpoint: str, ingest: str) -> Path:
    write_tiny(tmp_path / "model.onnx", "audio")
    path = tmp_path / "otolith.toml"
    path.write_text(
        f'publish = "{endpoint}"\nworkers = 2\n[ingest]\nbind = ["{ingest}"]\n'
        '[[route]]\npattern = "*"\nmodel = "model.onnx"\nposteriors_per_s = 50\n'
    )
    return path


@contextmanager
def pushing(ingest: str) -> Iterator[list[Producer]]:
    """A stream of each worker, pushed at real time until the end."""
    producers, stop = [Producer(ingest, stream=name, rate=16000) for name in NAMES], Event()
    noise = np.random.default_rng(0).integers(-3000, 3000, BLOCK, np.int16)

    def push() -> None:
        while not stop.wait(0.08):
            for producer in producers:
                producer.push(noise)

    pusher = Thread(target=push)
    pusher.start()
    try:
        yield producers
    finally:
        stop.set()
        pusher.join()
        for producer in producers:
            producer.close()


def listen(
    subscriber: Subscriber, until: Callable[[list[AnyMessage]], bool], timeout_s: float = 40
) -> list[AnyMessage]:
    messages: list[AnyMessage] = []
    deadline_s = time.monotonic() + timeout_s
    while not until(messages):
        assert time.monotonic() < deadline_s, sorted({(m.stream, m.model, type(m).__name__) for m in messages})
        if (message := subscriber.receive(0.2)) is not None:
            messages.append(message)
    return messages


def both_by(model: str) -> Callable[[list[AnyMessage]], bool]:
    """Does each worker's stream tell posteriors of `model`?"""
    return lambda messages: {m.stream for m in messages if m.model == model and is_told(m)} >= set(NAMES)


def is_told(message: AnyMessage) -> bool:
    return isinstance(message, PosteriorsMessage)


def told_of(messages: list[AnyMessage], name: str) -> int:
    posteriors = sum(m.frames * HOP for m in messages if isinstance(m, PosteriorsMessage) and m.stream == name)
    return posteriors + sum(m.lost for m in messages if isinstance(m, GapMessage) and m.stream == name)


def running(config: Path) -> DaemonProcess:
    return DaemonProcess(str(config), XDG_RUNTIME_DIR=str(config.parent))


def replace_model(config: Path, seed: int) -> str:
    path = write_tiny(config.parent / "new.onnx", "audio", seed=seed)
    path.replace(config.parent / "model.onnx")
    return Model.open(config.parent / "model.onnx").identity


def test_new_models_take_over_in_all_and_no_frame_is_missing(config: Path, endpoint: str, ingest: str) -> None:
    old = Model.open(config.parent / "model.onnx").identity
    with running(config) as daemon, Subscriber(endpoint) as subscriber:
        wait_for_workers(subscriber, ingest)
        with pushing(ingest) as producers:
            messages = listen(subscriber, both_by(old))
            new = replace_model(config, 1)
            told = reload(config.parent, daemon)
            assert sorted(told.stdout.splitlines()) == sorted(f'stream "{name}": {old} -> {new}' for name in NAMES)
            messages += listen(subscriber, both_by(new))
            newest = replace_model(config, 2)
            daemon.process.send_signal(signal.SIGHUP)
            messages += listen(subscriber, both_by(newest))
        pushed = [producer.pushed for producer in producers]
        messages += listen(subscriber, lambda more: [told_of(messages + more, name) for name in NAMES] == pushed)
        daemon.stop()
    assert sum(m.lost for m in messages if isinstance(m, GapMessage)) < 2 * HOP, "the last frames, that broke off"
    assert subscriber.missed == 0
    assert len({m.boot for m in messages if is_told(m)}) == 2


def test_what_one_cannot_do_none_does(config: Path, endpoint: str, ingest: str) -> None:
    old = Model.open(config.parent / "model.onnx").identity
    with running(config) as daemon, Subscriber(endpoint) as subscriber, pushing(ingest):
        listen(subscriber, both_by(old))
        good = config.read_text()
        config.write_text(good + f'[route.detector.maybe]\nthreshold = 0.5\n[[stream]]\nname = "{NAMES[0]}-x"\n')
        assert "key" in reload(config.parent, daemon).stderr
        config.write_text(good + "[route.detector.maybe]\nthreshold = 0.5\n")
        told = reload(config.parent, daemon)
        assert (told.returncode, told.stdout) == (1, "")
        assert 'route "*": detector.maybe: the model has no such label' in told.stderr
        config.write_text(good.replace("workers = 2", "workers = 3"))
        assert "workers cannot be changed while it runs" in reload(config.parent, daemon).stderr
        config.write_text(good)
        assert reload(config.parent, daemon).stdout == "nothing has changed\n"
        listen(subscriber, both_by(old))
        daemon.stop()
    assert subscriber.missed == 0


def test_a_worker_that_dies_meanwhile_comes_back_with_the_new_settings(
    config: Path, endpoint: str, ingest: str
) -> None:
    old = Model.open(config.parent / "model.onnx").identity
    with running(config) as daemon, Subscriber(endpoint) as subscriber, pushing(ingest):
        listen(subscriber, both_by(old))
        new = replace_model(config, 1)
        victim, witness = children_of(daemon.process.pid)
        os.kill(victim, signal.SIGKILL)
        told = reload(config.parent, daemon)
        assert told.returncode == 0, told.stderr
        listen(subscriber, both_by(new))
        assert is_alive(witness)
        daemon.stop()


def test_streams_of_its_own_come_and_go_whoever_has_them(tmp_path: Path, endpoint: str) -> None:
    write_tiny(tmp_path / "model.onnx", "audio")
    config = tmp_path / "otolith.toml"
    table = '[[stream]]\nname = "{}"\nmodel = "model.onnx"\nsource = "recording:{}"\n'
    config.write_text(f'publish = "{endpoint}"\nworkers = 2\n' + table.format(NAMES[0], SOUND))
    with running(config) as daemon, Subscriber(endpoint) as subscriber:
        listen(subscriber, lambda messages: any(map(is_told, messages)))
        config.write_text(f'publish = "{endpoint}"\nworkers = 2\n' + table.format(NAMES[1], SOUND))
        assert f'stream "{NAMES[0]}": ends' in reload(tmp_path, daemon).stdout
        heard = listen(subscriber, lambda messages: any(m.stream == NAMES[1] and is_told(m) for m in messages))
        assert {m.stream for m in heard} <= set(NAMES)
        daemon.stop()
