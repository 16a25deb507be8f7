"""The systemd units and the example settings, as systemd and the daemon read them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.processes import run_otolith

FOLDER = ROOT / "systemd"
SERVICES = ("otolith.service", "otolith@.service", "otolith-retrain.service")
UNITS = (*SERVICES, "otolith-retrain.timer", "user/otolith.service")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd"
)


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_is_one_that_systemd_accepts(unit: str) -> None:
    done = subprocess.run(["systemd-analyze", "verify", FOLDER / unit], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "otolith" not in done.stderr


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES)
def test_the_unit_exposes_little(unit: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", FOLDER / unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


def test_an_instance_differs_from_the_one_daemon_in_names_alone() -> None:
    one, instance = ((FOLDER / unit).read_text() for unit in ("otolith.service", "otolith@.service"))
    named = {
        "StateDirectory=otolith\n": "StateDirectory=otolith-%i\n",
        "RuntimeDirectory=otolith\n": "RuntimeDirectory=otolith-%i\n",
        "User=otolith\n": "",  # each has one of its own
        "inference\n": "inference (%i)\n",
        "/etc/otolith/otolith.toml": "/etc/otolith/%i.toml",
        ":otolith.daemon.key": ":otolith-%i.daemon.key",
    }
    for of_one, of_instance in named.items():
        one = one.replace(of_one, of_instance)
    assert directives(one) == directives(instance)


def directives(unit: str) -> list[str]:
    return [line for line in unit.splitlines() if not line.startswith("#")]


def test_the_example_settings_are_good_settings(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "otolith.toml", tmp_path)
    shutil.copy(ROOT / "exported_models" / "words.onnx", tmp_path)
    code, out, said = run_otolith("check", tmp_path / "otolith.toml")
    assert code == 0, said
    assert 'stream "kitchen": microphone: -> words@' in out
