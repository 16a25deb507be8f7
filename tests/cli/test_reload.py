"""`otolith reload`: a running daemon changes what it listens with, and a subscriber that counts misses nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from otolith import Model, Subscriber
from otolith.wire.messages import AnyMessage, GapMessage, PosteriorsMessage, StatusMessage
from tests.conftest import SOUND
from tests.processes import DaemonProcess
from tests.tiny import write_tiny


@pytest.fixture
def config(tmp_path: Path, endpoint: str) -> Path:
    write_tiny(tmp_path / "model.onnx", "audio")
    path = tmp_path / "otolith.toml"
    path.write_text(f'publish = "{endpoint}"\n' + stream("kitchen"))
    return path


def stream(name: str, posteriors_per_s: int = 50) -> str:
    return (
        f'[[stream]]\nname = "{name}"\nmodel = "model.onnx"\nsource = "recording:{SOUND}"\n'
        f"posteriors_per_s = {posteriors_per_s}\n"
    )


def reload(folder: Path, daemon: DaemonProcess) -> subprocess.CompletedProcess[str]:
    socket = folder / "otolith" / f"daemon-{daemon.process.pid}.sock"
    command = [sys.executable, "-m", "otolith", "reload", str(socket)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def listen(subscriber: Subscriber, until: Callable[[AnyMessage], bool], timeout_s: float = 15) -> list[AnyMessage]:
    messages: list[AnyMessage] = []
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if (message := subscriber.receive(0.2)) is not None:
            messages.append(message)
            if until(message):
                return messages
    raise AssertionError(f"not within {timeout_s} s; {len(messages)} messages, the last {messages[-1:]}")


def running(config: Path) -> DaemonProcess:
    return DaemonProcess(str(config), XDG_RUNTIME_DIR=str(config.parent))


@pytest.mark.parametrize("by", ["command", "signal"])
def test_a_new_model_takes_over_and_no_frame_is_missing(config: Path, endpoint: str, by: str) -> None:
    old = Model.open(config.parent / "model.onnx").identity
    with running(config) as daemon, Subscriber(endpoint) as subscriber:
        messages = listen(subscriber, lambda m: isinstance(m, PosteriorsMessage))
        new = Model.open(write_tiny(config.parent / "new.onnx", "audio", seed=1)).identity
        (config.parent / "new.onnx").replace(config.parent / "model.onnx")
        if by == "command":
            told = reload(config.parent, daemon)
            assert told.stdout == f'stream "kitchen": {old} -> {new}\n'
        else:
            daemon.process.send_signal(signal.SIGHUP)
        messages += listen(subscriber, lambda m: isinstance(m, PosteriorsMessage) and m.model == new)
        messages += listen(subscriber, lambda m: isinstance(m, StatusMessage))
        assert daemon.stop() < 2
    posteriors = [m for m in messages if isinstance(m, PosteriorsMessage)]
    assert [m.position - 320 * m.frames for m in posteriors[1:]] == [m.position for m in posteriors[:-1]]
    assert not [m for m in messages if isinstance(m, GapMessage)]
    assert subscriber.missed == 0


def test_a_file_that_is_wrong_changes_nothing_and_is_told(config: Path, endpoint: str) -> None:
    with running(config) as daemon, Subscriber(endpoint, kind="posteriors") as subscriber:
        listen(subscriber, lambda _: True)
        (config.parent / "model.onnx").write_bytes(b"no model")
        told = reload(config.parent, daemon)
        assert told.returncode == 1
        assert "model.onnx" in told.stderr
        write_tiny(config.parent / "model.onnx", "audio")
        config.write_text(config.read_text().replace("posteriors_per_s", "posteriors_a_second"))
        told = reload(config.parent, daemon)
        assert "unknown key" in told.stderr
        listen(subscriber, lambda _: True)
        assert daemon.stop() < 2
    assert subscriber.missed == 0


def test_streams_come_and_go(config: Path, endpoint: str) -> None:
    with running(config) as daemon, Subscriber(endpoint, kind="posteriors") as subscriber:
        listen(subscriber, lambda m: m.stream == "kitchen")
        config.write_text(config.read_text().replace("kitchen", "hall"))
        told = reload(config.parent, daemon)
        assert 'stream "kitchen": ends\nstream "hall": begins' in told.stdout
        listen(subscriber, lambda m: m.stream == "hall")
        time.sleep(1)
        while subscriber.receive(0):
            pass
        assert {m.stream for m in listen(subscriber, lambda _: True)} == {"hall"}


def test_what_only_a_restart_changes_is_said(config: Path, endpoint: str) -> None:
    with running(config) as daemon, Subscriber(endpoint, kind="posteriors") as subscriber:
        listen(subscriber, lambda _: True)
        assert reload(config.parent, daemon).stdout == "nothing has changed\n"
        config.write_text("workers = 2\n" + config.read_text())
        assert "workers cannot be changed while it runs; restart the daemon" in reload(config.parent, daemon).stderr
