"""The warden: when systemd is told that a daemon is ready and well."""

from __future__ import annotations

import ctypes
import os
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from otolith.service.host.warden import Warden
from otolith.service.vitals import Vitals
from otolith.sinks.echo import Echo
from otolith.sinks.publisher import Publisher
from tests.conftest import SOUND, UNAVOIDABLE
from tests.processes import DaemonProcess

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17  # ptrace(2)
WAIT_ALL = 0x40000000  # __WALL: of threads too


class Awaited:
    """As much of a listener as a warden looks at."""

    def __init__(self, frame_period_s: float, frames: int = 0) -> None:
        self.frame_period_s, self.vitals = frame_period_s, Vitals()
        self.vitals.frames = frames


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[socket.socket]:
    """Systemd's end of the line."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(60)
        yield end


def told(systemd: socket.socket) -> list[str]:
    """What has been said by now."""
    systemd.setblocking(False)
    notes = []
    try:
        while True:
            notes.append(systemd.recv(4096).decode())
    except BlockingIOError:
        return notes


def test_it_is_ready_with_the_first_frame_of_those_that_are_awaited(systemd: socket.socket) -> None:
    sound: Any = Awaited(0.02)
    text: Any = Awaited(float("inf"))
    warden = Warden()
    warden.greet([sound, text], 2)
    assert not warden.is_ready
    sound.vitals.frames = 1
    warden.greet([sound, text], 2)
    assert told(systemd) == ["READY=1\nSTATUS=listening on 2 stream(s), 0 frames"]


@pytest.mark.parametrize("awaited", [[], [Awaited(float("inf"))], [Awaited(3600)]])
def test_it_is_ready_at_once_and_well_where_no_frame_is_awaited(systemd: socket.socket, awaited: Any) -> None:
    warden = Warden()
    warden.greet(awaited, len(awaited))
    warden.look(1000, 0, awaited, [])
    assert [note.split("\n")[0] for note in told(systemd)] == ["READY=1", "WATCHDOG=1"]


def test_the_watchdog_is_fed_only_while_frames_flow_and_messages_leave(systemd: socket.socket) -> None:
    sound: Any = [Awaited(0.02, frames=1)]
    leaves = True
    warden = Warden(lambda: leaves)
    warden.greet(sound, 1)
    warden.look(1, 50, sound, [])
    warden.look(2, 100, sound, [])
    leaves = False
    warden.look(5, 150, sound, [])
    leaves = True
    warden.look(8, 150, sound, [])
    warden.look(9, 200, sound, [])
    said = [note.split("\n")[0][:23] for note in told(systemd)[1:]]
    assert said == ["WATCHDOG=1", "WATCHDOG=1", "STATUS=nothing leaves: ", "STATUS=nothing is heard", "WATCHDOG=1"]


def test_an_echo_comes_back_and_nobody_else_hears_it(systemd: socket.socket, endpoint: str) -> None:
    with Publisher(endpoint) as publisher, zmq.Context() as context, context.socket(zmq.SUB) as other:
        other.subscribe(b"otolith/")
        other.connect(endpoint)
        deadline_s = time.monotonic() + 10
        while not publisher.pulse() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert not other.poll(50)


def test_an_echo_that_does_not_come_is_told(systemd: socket.socket) -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
        echo = Echo.where_watched(publisher, context)
        assert echo is not None
        publisher.unbind(publisher.getsockopt(zmq.LAST_ENDPOINT))
        echo._ear.disconnect(echo._ear.getsockopt(zmq.LAST_ENDPOINT))
        assert [echo.pulse() for _ in range(3)] == [False] * 3
        echo.close()


@pytest.mark.parametrize("thread", ["", "ZMQbg/IO/0"])
def test_a_daemon_whose_thread_hangs_starves_its_watchdog(
    systemd: socket.socket, endpoint: str, tiny_audio_file: Path, thread: str
) -> None:
    arguments = ("--model", str(tiny_audio_file), "--source", f"recording:{SOUND}", "--publish", endpoint)
    with DaemonProcess(*arguments) as daemon:
        while b"WATCHDOG=1" not in systemd.recv(4096):
            pass
        with stopped(thread_of(daemon.process.pid, thread)):
            time.sleep(3.5)  # by now it would have been fed, if it ever is
            told(systemd)
            time.sleep(1.5)
            notes = told(systemd)
        assert not [note for note in notes if "WATCHDOG=1" in note]
        assert any("nothing leaves" in note for note in notes) == bool(thread)
        systemd.settimeout(60)
        while b"WATCHDOG=1" not in systemd.recv(4096):
            pass


def thread_of(pid: int, name: str) -> int:
    """The main thread, which steps and publishes, or the one of that name."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return next(int(task.name) for task in tasks if (task / "comm").read_text().strip() == name) if name else pid


@contextmanager
def stopped(thread: int) -> Iterator[None]:
    """One thread of another process stands still; the others go on, unlike with SIGSTOP."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(PTRACE_SEIZE, thread, None, None):
        pytest.skip(f"{UNAVOIDABLE}no thread may be stopped here: {os.strerror(ctypes.get_errno())}")
    assert libc.ptrace(PTRACE_INTERRUPT, thread, None, None) == 0
    os.waitpid(thread, WAIT_ALL)
    yield
    assert libc.ptrace(PTRACE_DETACH, thread, None, None) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_daemon_for_the_network_is_ready_and_well_while_nobody_is_there(
    systemd: socket.socket, endpoint: str, tmp_path: Path, tiny_audio_file: Path, workers: int
) -> None:
    path = tmp_path / "otolith.toml"
    path.write_text(
        f'publish = "{endpoint}"\nworkers = {workers}\n[ingest]\nbind = ["zmq+ipc://{tmp_path}/ingest"]\n'
        f'[[route]]\npattern = "*"\nmodel = "{tiny_audio_file}"\n'
    )
    with DaemonProcess(str(path)) as daemon:
        notes = [systemd.recv(4096).decode()]
        while "WATCHDOG=1" not in notes[-1] and len(notes) < 20:
            notes.append(systemd.recv(4096).decode())
        daemon.stop()
    assert notes[0].startswith("READY=1")
    assert "WATCHDOG=1" in notes[-1]
    assert not list(tmp_path.glob("*echo*")), "nothing is left behind"
