"""`otolith status`: asked of real daemons."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otolith import Subscriber
from tests.conftest import SOUND
from tests.processes import DaemonProcess, json_lines


def status(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "otolith", "status", *arguments]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_daemon_tells_how_its_streams_are(workers: int, tmp_path: Path, endpoint: str, tiny_audio_file: Path) -> None:
    settings = tmp_path / "otolith.toml"
    settings.write_text(
        f'publish = "{endpoint}"\nworkers = {workers}\n'
        + "".join(
            f'[[stream]]\nname = "{name}"\nmodel = "{tiny_audio_file}"\nsource = "recording:{SOUND}"\n'
            for name in ("kitchen", "hall")
        )
    )
    with (
        DaemonProcess(str(settings), XDG_RUNTIME_DIR=str(tmp_path)) as daemon,
        Subscriber(endpoint, kind="status") as subscriber,
    ):
        heard: set[str] = set()
        deadline_s = time.monotonic() + 60
        while heard < {"kitchen", "hall"}:
            assert time.monotonic() < deadline_s
            if message := subscriber.receive(0.2):
                heard.add(message.stream)
        told = next(each for each in json_lines(status(tmp_path, "--json").stdout) if each["publish"] == endpoint)
        shown = status(tmp_path, str(tmp_path / "otolith" / f"daemon-{daemon.process.pid}.sock"))
        assert daemon.stop() < 2
    assert {stream["stream"] for stream in told["streams"]} == {"kitchen", "hall"}
    assert all(stream["state"] == "listening" and stream["frames"] > 0 for stream in told["streams"])
    assert told["pid"] == daemon.process.pid
    assert (told["lost"], told["publish"]) == (0, endpoint)
    assert shown.returncode == 0
    assert "2 streams" in shown.stdout
    assert not list((tmp_path / "otolith").glob("*.sock"))


def test_where_no_daemon_runs_it_says_what_to_do(tmp_path: Path) -> None:
    found = status(tmp_path, str(tmp_path / "nobody.sock"))
    assert found.returncode == 1
    assert "no daemon answers there (No such file or directory)" in found.stderr
