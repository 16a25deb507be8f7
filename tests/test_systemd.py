"""The systemd unit and the example settings, as systemd and the daemon read them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.processes import run_otolith

UNIT = ROOT / "systemd" / "otolith.service"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd"
)


@needs_systemd
def test_the_unit_is_one_that_systemd_accepts() -> None:
    done = subprocess.run(["systemd-analyze", "verify", UNIT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "otolith" not in done.stderr


@needs_systemd
def test_the_unit_exposes_little() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", UNIT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


def test_the_example_settings_are_good_settings(tmp_path: Path) -> None:
    shutil.copy(ROOT / "systemd" / "otolith.toml", tmp_path)
    shutil.copy(ROOT / "exported_models" / "words.onnx", tmp_path)
    code, out, said = run_otolith("check", tmp_path / "otolith.toml")
    assert code == 0, said
    assert 'stream "kitchen": microphone: -> words@' in out
