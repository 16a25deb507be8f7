"""The units in a real systemd: they start, come back, hang, change, stop and fail as is promised."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator

import numpy as np
import pytest
import soundfile

from otolith.recordings import load_audio
from tests.conftest import ROOT, SOUND, UNAVOIDABLE
from tests.systemd.machine import BootError, Machine
from tests.tiny import write_tiny

UNIT = "otolith.service"
# A busy machine may take more than a minute for five starts.
QUICKER = "[Unit]\nStartLimitIntervalSec=300\n[Service]\nWatchdogSec=5\nRestartSec=100ms\nMemoryMax=infinity\n"
SETTINGS = """publish = "tcp://127.0.0.1:{port}"
[[stream]]
name = "kitchen"
model = "tiny.onnx"
source = "recording:/etc/otolith/long.wav"
"""


@pytest.fixture(scope="module")
def machine() -> Generator[Machine]:
    if shutil.which("systemd-nspawn") is None:
        pytest.skip("needs systemd-nspawn: apt-get install systemd-container")
    try:
        with Machine() as machine:
            furnish(machine)
            yield machine
    except BootError as error:
        pytest.skip(f"{UNAVOIDABLE}no container boots in this environment: {error}")


def furnish(machine: Machine) -> None:
    """The units, a model, a recording of five minutes, and settings."""
    for unit in ("otolith.service", "otolith@.service"):
        shutil.copy(ROOT / "systemd" / unit, machine.root / "etc/systemd/system")
        machine.write(f"/etc/systemd/system/{unit}.d/quicker.conf", QUICKER)
    machine.write("/etc/otolith/otolith.toml", SETTINGS.format(port=7311))
    write_tiny(machine.root / "etc/otolith/tiny.onnx", "audio")
    half_a_minute = load_audio(SOUND, 16000)
    soundfile.write(machine.root / "etc/otolith/long.wav", np.tile(half_a_minute, 10), 16000)
    machine.systemctl("daemon-reload")


@pytest.fixture
def idle(machine: Machine) -> Generator[Machine]:
    """Nothing runs, and nothing was logged."""
    machine.write("/etc/otolith/otolith.toml", SETTINGS.format(port=7311))
    machine.run("journalctl", "--rotate", "--vacuum-time=1ms")
    machine.systemctl("reset-failed")
    yield machine
    machine.run("systemctl", "stop", UNIT)


@pytest.fixture
def running(idle: Machine) -> Machine:
    """The daemon runs, freshly started."""
    idle.systemctl("start", UNIT)
    return idle


def test_it_is_started_when_frames_flow_and_answers_in_its_own_folder(running: Machine) -> None:
    assert running.show(UNIT)["StatusText"] == "listening on 1 stream(s), 0 frames"
    shown = running.wait_for(UNIT, lambda now: not now["StatusText"].endswith(" 0 frames"))
    told = running.run("/opt/otolith/bin/otolith", "status")
    assert "kitchen" in told.stdout, told.stderr
    assert f"/run/otolith/daemon-{shown['MainPID']}.sock" in told.stdout
    assert running.run("stat", "--format=%a", "/run/otolith").stdout.strip() == "750"


def test_its_log_has_fields(running: Machine) -> None:
    running.write("/etc/otolith/otolith.toml", SETTINGS.format(port=7311).replace("kitchen", "hall"))
    running.systemctl("reload", UNIT)
    running.wait_for(UNIT, lambda _: "input ended" in running.journal(UNIT))
    told = running.run("journalctl", "--output=verbose", "STREAM=kitchen", "EVENT=ended").stdout
    assert "MESSAGE=stream kitchen: the input ended" in told
    assert "PRIORITY=6" in told
    assert f"_SYSTEMD_UNIT={UNIT}" in told


def test_one_that_was_killed_comes_back(running: Machine) -> None:
    before = running.show(UNIT)
    running.systemctl("kill", "--signal=KILL", "--kill-whom=main", UNIT)
    after = running.wait_for(UNIT, lambda now: now["NRestarts"] == "1" and now["ActiveState"] == "active")
    assert after["MainPID"] != before["MainPID"]


@pytest.fixture
def timed(idle: Machine, request: pytest.FixtureRequest) -> Generator[Machine]:
    """The daemon runs; in full, with the unit's own watchdog and pause before a restart."""
    if request.config.getoption("--faults-full"):
        idle.write(f"/etc/systemd/system/{UNIT}.d/quicker.conf", "[Service]\nMemoryMax=infinity\n")
        idle.systemctl("daemon-reload")
    idle.systemctl("start", UNIT)
    yield idle
    idle.write(f"/etc/systemd/system/{UNIT}.d/quicker.conf", QUICKER)
    idle.systemctl("daemon-reload")


def test_one_that_hangs_misses_its_watchdog_and_comes_back(timed: Machine) -> None:
    before = timed.wait_for(UNIT, lambda now: not now["StatusText"].endswith(" 0 frames"))
    timed.systemctl("kill", "--signal=STOP", "--kill-whom=main", UNIT)
    hung_s = time.monotonic()
    after = timed.wait_for(UNIT, lambda now: now["NRestarts"] == "1" and now["ActiveState"] == "active")
    print(f"ready again {time.monotonic() - hung_s:.1f} s behind the hang")
    assert after["MainPID"] != before["MainPID"]
    assert "Watchdog timeout" in timed.journal(UNIT)
    assert "(most recent call first)" in timed.journal(UNIT), "where its threads were is told"


def test_it_stops_cleanly(running: Machine) -> None:
    running.systemctl("stop", UNIT)
    shown = running.show(UNIT)
    assert (shown["ActiveState"], shown["Result"], shown["ExecMainStatus"]) == ("inactive", "success", "0")


def test_a_reload_changes_it_or_fails_and_changes_nothing(running: Machine) -> None:
    before = running.show(UNIT)
    good = (running.root / "etc/otolith/otolith.toml").read_text()
    running.write("/etc/otolith/otolith.toml", good.replace("kitchen", "hall"))
    running.systemctl("reload", UNIT)
    assert 'stream "hall": begins' in running.journal(UNIT)
    running.write("/etc/otolith/otolith.toml", good.replace("model =", "modle ="))
    assert running.run("systemctl", "reload", UNIT).returncode != 0
    assert 'unknown key "modle"' in running.journal(UNIT)
    after = running.show(UNIT)
    assert (after["ActiveState"], after["MainPID"]) == ("active", before["MainPID"])


def test_wrong_settings_fail_once_and_say_why(idle: Machine) -> None:
    idle.write("/etc/otolith/otolith.toml", "publish = 7311\n")
    assert idle.run("systemctl", "start", UNIT).returncode != 0
    shown = idle.show(UNIT)
    assert (shown["ActiveState"], shown["ExecMainStatus"], shown["NRestarts"]) == ("failed", "78", "0")
    assert "publish: Expected text, got `int`" in shown["StatusText"]


def test_the_fifth_crash_in_a_minute_is_the_last_and_its_reason_is_told(idle: Machine) -> None:
    idle.write("/etc/otolith/otolith.toml", SETTINGS.format(port=7311).replace("long.wav", "none.wav"))
    idle.run("systemctl", "start", UNIT)
    shown = idle.wait_for(
        UNIT, lambda now: now["ActiveState"] == "failed" and now["SubState"] == "failed", timeout_s=100
    )
    assert shown["NRestarts"] == "5"
    assert "Start request repeated too quickly" in idle.journal(UNIT)
    assert 'stream "kitchen": /etc/otolith/none.wav' in shown["StatusText"]
    errors = idle.run("journalctl", "--output=cat", "--priority=err", f"--unit={UNIT}").stdout
    assert 'otolith: /etc/otolith/otolith.toml: stream "kitchen"' in errors


def test_its_secret_key_is_a_credential_and_told_to_nobody(idle: Machine) -> None:
    otolith = "/opt/otolith/bin/otolith"
    idle.run(otolith, "keys", "make", "daemon", "--folder", "/etc/otolith/keys")
    idle.run(otolith, "keys", "make", "laptop", "--folder", "/root/keys")
    idle.run(otolith, "keys", "allow", "/root/keys/laptop.key", "--folder", "/etc/otolith/keys")
    idle.write("/etc/otolith/otolith.toml", 'keys = "keys"\n' + SETTINGS.format(port=7313))
    done = idle.run(otolith, "service", "install")
    assert done.returncode == 0, done.stderr
    keys = ("--keys", "/root/keys/laptop.key_secret", "--daemon-key", "/etc/otolith/keys/daemon.key")
    heard = ("subscribe", "tcp://127.0.0.1:7313", *keys, "--json", "--count", "1", "--timeout", "10")
    told = idle.run(otolith, *heard)
    assert '"stream":"kitchen"' in told.stdout, told.stderr + idle.journal(UNIT)
    credential = "/etc/credstore/otolith.daemon.key_secret"
    assert idle.run("stat", "--format=%a %U", credential).stdout == "600 root\n"
    secret = idle.run("cat", credential).stdout.rpartition("secret-key = ")[2].strip().strip('"')
    assert len(secret) == 40
    assert secret not in idle.journal() + idle.systemctl("show", UNIT)


def test_an_instance_is_installed_with_folders_of_its_own_looked_at_and_removed(running: Machine) -> None:
    otolith = ("/opt/otolith/bin/otolith", "service")
    running.write("/etc/otolith/porch.toml", SETTINGS.format(port=7314).replace("kitchen", "porch"))
    done = running.run(*otolith, "install", "--name", "porch")
    assert done.returncode == 0, done.stderr
    assert "write /etc/systemd/system/otolith@.service" in done.stdout
    assert "/opt/otolith/bin/otolith run" in running.show("otolith@porch")["ExecStart"]
    both = running.run("/opt/otolith/bin/otolith", "status").stdout
    assert "/run/otolith/daemon-" in both
    assert "/run/otolith-porch/daemon-" in both
    told = running.run(*otolith, "status", "--name", "porch").stdout
    assert "otolith@porch.service: active (running), enabled" in told
    assert "/run/otolith-porch/daemon-" in told
    running.systemctl("reload", "otolith@porch")
    done = running.run(*otolith, "uninstall", "--name", "porch", "--purge")
    assert done.returncode == 0, done.stderr
    assert running.run("ls", "/var/lib/otolith-porch").returncode != 0
    assert running.run("ls", "/etc/otolith/porch.toml").returncode == 0
    assert running.run(*otolith, "status", "--name", "porch").returncode == 1


def begin_session(machine: Machine) -> None:
    """The manager of a user who logs in: its start hangs on what the kernel lends a container just then."""
    for _ in range(3):
        done = machine.run("systemctl", "start", "user@0.service")
        if done.returncode == 0:
            return
        machine.run("systemctl", "reset-failed", "user@0.service")
    pytest.skip(f"{UNAVOIDABLE}no user's session begins in this container: {done.stderr}")


def test_it_runs_in_a_users_session(idle: Machine) -> None:
    begin_session(idle)
    idle.run("mkdir", "--parents", "/root/.config")
    idle.run("cp", "--recursive", "/etc/otolith", "/root/.config/")
    session = ("env", "HOME=/root", "XDG_RUNTIME_DIR=/run/user/0")
    service = (*session, "/opt/otolith/bin/otolith", "service")
    done = idle.run(*service, "install", "--user")
    assert done.returncode == 0, done.stderr
    told = idle.run(*service, "status", "--user").stdout
    assert "otolith.service: active (running), enabled" in told
    assert "/run/user/0/otolith/daemon-" in told
    assert idle.run(*session, "systemctl", "--user", "reload", "otolith").returncode == 0
    assert idle.run(*service, "uninstall", "--user", "--purge").returncode == 0
    assert idle.run("ls", "/root/.local/state/otolith").returncode != 0
