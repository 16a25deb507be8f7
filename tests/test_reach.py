"""Reach: a daemon opens no socket and writes no file that was not configured, whatever its libraries would like."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from otolith import Producer, Subscriber
from tests.processes import OTOLITH

ROOT = Path(__file__).parent.parent
WORDS, SOUND = ROOT / "exported_models" / "words.onnx", ROOT / "examples" / "demo" / "words.flac"
REACHING = ("connect", "bind", "sendto", "sendmsg", "sendmmsg")
WRITING = "?open,openat,?creat,?mkdir,mkdirat,?rename,?renameat,renameat2,?link,linkat,symlinkat"
NOWHERE = re.compile(r"/dev/null|/proc/self/|/dev/shm/sem\.|/memfd:")  # written to, and nothing stays

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing; apt-get install strace")


def settings(folder: Path, port: int) -> Path:
    text = f"""publish = "ipc://{folder}/publish.sock"
control = "{folder}/control.sock"
[state]
folder = "{folder}/state"
[ingest]
bind = ["zmq+tcp://127.0.0.1:{port}", "udp://127.0.0.1:{port}"]
[[route]]
pattern = "*"
model = "{WORDS}"
[[stream]]
name = "demo"
model = "{WORDS}"
source = "recording:{SOUND}"
"""
    (folder / "otolith.toml").write_text(text)
    return folder / "otolith.toml"


@needs_strace
def test_nothing_is_reached_or_written_that_was_not_configured(tmp_path: Path) -> None:
    """Watched at the kernel's door: all processes of a daemon, from its first call to its last."""
    free_port = _free_port()
    folder, home, log = tmp_path / "daemon", tmp_path / "home", tmp_path / "calls"
    folder.mkdir()
    home.mkdir()
    command = [
        "strace",
        "-f",
        "-qq",
        "-o",
        str(log),
        "-e",
        f"trace={','.join(REACHING)},{WRITING}",
        "-e",
        "signal=none",
    ]
    command += ["env", f"HOME={home}", "PYTHONDONTWRITEBYTECODE=1", f"TMPDIR={folder}"]
    command += [*OTOLITH, "run", str(settings(folder, free_port))]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        with (
            Subscriber(f"ipc://{folder}/publish.sock", kind="posteriors", stream="hall") as subscriber,
            Producer(f"zmq+tcp://127.0.0.1:{free_port}", stream="hall", rate=16000) as producer,
        ):
            deadline_s = time.monotonic() + 60
            while subscriber.receive(0.05) is None:
                producer.push(np.zeros(1600, np.int16))
                assert time.monotonic() < deadline_s
    finally:
        for child in psutil.Process(process.pid).children():
            child.terminate()
        process.wait(60)
    calls = log.read_text().splitlines()
    assert sum("connect(" in call or "bind(" in call for call in calls) > 3  # it was watched
    assert [call for call in calls if not _is_configured(call, folder, free_port)] == []
    assert list(home.rglob("*")) == []


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _is_configured(call: str, folder: Path, port: int) -> bool:
    """Whether a call reaches only what a daemon was told of."""
    if "resumed>" in call:
        return True  # it was told when it began
    if any(f" {name}(" in call for name in REACHING):
        return _is_ours(call, folder, port)  # be it in vain
    if " = -1 " in call:
        return True
    names = re.findall(r'"((?:[^"\\]|\\.)*)"', call)
    writes = "O_WRONLY" in call or "O_RDWR" in call or "O_CREAT" in call or " open" not in call
    return not writes or all(name.startswith(str(folder)) or NOWHERE.match(name) for name in names)


def _is_ours(call: str, folder: Path, port: int) -> bool:
    if "AF_INET" in call:
        return f"htons({port})" in call and "127.0.0.1" in call and " connect(" not in call
    paths = re.findall(r'sun_path="([^"]*)"', call)
    return all(path.startswith(str(folder)) for path in paths)


@pytest.mark.parametrize(
    ("call", "is_configured"),
    [
        ('7 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("9.9.9.9")}, 16) = 0', False),
        (
            '7 connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("9.9.9.9")}, 16) = -1 EINPR',
            False,
        ),
        ('7 bind(3, {sa_family=AF_INET, sin_port=htons(7312), sin_addr=inet_addr("127.0.0.1")}, 16) = 0', True),
        ('7 bind(3, {sa_family=AF_INET, sin_port=htons(7312), sin_addr=inet_addr("0.0.0.0")}, 16) = 0', False),
        ('7 connect(3, {sa_family=AF_UNIX, sun_path="/run/dbus/socket"}, 16) = -1 ENOENT', False),
        ('7 openat(AT_FDCWD, "/root/.cache/Microsoft/id", O_WRONLY|O_CREAT, 0600) = 5', False),
        ('7 openat(AT_FDCWD, "/d/state/streams", O_WRONLY|O_CREAT, 0600) = 5', True),
        ('7 openat(AT_FDCWD, "/etc/hosts", O_RDONLY) = 5', True),
        ('7 mkdir("/root/.cache", 0700) = 0', False),
    ],
)
def test_what_is_watched_for_would_be_seen(call: str, is_configured: bool) -> None:
    assert _is_configured(call, Path("/d"), 7312) == is_configured


WAYS = {
    "a program": "import otolith; otolith.Model",
    "the daemon": "import otolith.service.assemble",
    "a worker": "import otolith.service.workers.worker, otolith.service.assemble",
    "the trial": "from otolith.trial import Trial, _serve; import otolith.inference.model",
    "infer": "import otolith.cli.infer, otolith.service.offline",
    "the trainer": "import otolith_training.cli, otolith_training.network.export, otolith_training.measure.evaluate",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_telemetry_is_off_before_the_runtime_is_imported_on_every_way_in(way: str) -> None:
    watch = """
import os, sys
os.environ.pop("ORT_DISABLE_TELEMETRY", None)
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print("imported with", os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Watch())
"""
    done = subprocess.run([sys.executable, "-c", watch + way], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "imported with 1\n"
