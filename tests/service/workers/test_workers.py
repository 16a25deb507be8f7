"""Workers as the daemon's parent sees them: who is theirs, when all are ready, and when to give up."""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from otolith import Subscriber
from otolith.errors import OtolithError
from otolith.service.workers import health
from otolith.service.workers import workers as at
from otolith.service.workers.workers import Workers, private_folder
from otolith.settings import Settings, StreamSettings
from otolith.wire.line import worker_of
from tests.conftest import SOUND
from tests.processes import DaemonProcess


def stream(name: str, model: Path, source: str) -> StreamSettings:
    return StreamSettings(name=name, model=str(model), source=source)


def test_the_daemons_own_streams_are_spread_and_it_is_ready_once_and_ends_with_them(
    endpoint: str, tmp_path: Path, tiny_audio_file: Path
) -> None:
    names = ["room-0", "room-1", "room-2", "room-3"]
    assert {worker_of(name.encode(), 2) for name in names} == {0, 1}
    streams = [f'[[stream]]\nname = "{n}"\nmodel = "{tiny_audio_file}"\nsource = "recording:{SOUND}"\n' for n in names]
    path = tmp_path / "otolith.toml"
    path.write_text(f'publish = "{endpoint}"\nworkers = 2\n' + "".join(streams).replace(".flac", ".flac?pace=none"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        with DaemonProcess(str(path), NOTIFY_SOCKET=str(tmp_path / "notify")) as daemon:
            code, said = daemon.wait()
            notes = [systemd.recv(4096)]
            while not notes[-1].startswith(b"STOPPING=1"):
                notes.append(systemd.recv(4096))
    assert code == 0, said
    assert said.count("the input ended") == 4
    assert [note.split(b"\n")[0] for note in notes].count(b"READY=1") == 1


def test_a_worker_that_never_lasts_ends_the_daemon(
    endpoint: str, tmp_path: Path, tiny_audio_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at, "BACKOFF_S", (0.0,))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    missing = stream("room-0", tiny_audio_file, f"recording:{tmp_path}/none.wav")
    workers = Workers(Settings(stream=[missing], publish=endpoint, workers=2), "otolith.toml")
    with pytest.raises(OtolithError, match="died 2 times, each within 10 s"):
        workers.run()
    assert not list(tmp_path.glob("otolith-*")), "nothing is left behind"


def test_a_worker_that_hangs_is_ended_alone_and_started_again(
    endpoint: str,
    tmp_path: Path,
    tiny_audio_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(health, "HANG_S", 5.0)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    streams = [stream(name, tiny_audio_file, f"recording:{SOUND}") for name in ("room-0", "room-1", "room-2", "room-3")]
    workers = Workers(Settings(stream=streams, publish=endpoint, workers=2), "otolith.toml")

    def disturb() -> None:
        with Subscriber(endpoint, stream="room-0") as subscriber:
            first = subscriber.receive(60)
            victim = workers._workers[worker_of(b"room-0", 2)].process
            assert first is not None
            assert victim is not None
            victim.send_signal(signal.SIGSTOP)
            while (message := subscriber.receive(60)) is not None and message.boot == first.boot:
                pass
        workers.stop()

    thread = threading.Thread(target=disturb)
    thread.start()
    workers.run()
    thread.join()
    assert [worker.deaths for worker in workers._workers] == [1 - worker_of(b"room-0", 2), worker_of(b"room-0", 2)]
    assert "hangs: nothing came of it" in caplog.text


def test_the_private_folder_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as short:  # a socket file's path has little room
        monkeypatch.setenv("RUNTIME_DIRECTORY", short)
        folder = Path(private_folder())
        assert folder.parent == Path(short)
        assert folder.stat().st_mode & 0o777 == 0o700
