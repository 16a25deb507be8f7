"""`otolith service`: what it would do, and what it refuses; what it does stands in tests/systemd."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import pytest

from otolith.errors import OtolithError, SettingsError, UsageError
from otolith.service.host import installation
from otolith.service.host.installation import steps_to_install, steps_to_uninstall
from otolith.service.host.units import Unit, require_systemd
from otolith.settings import Settings, StreamSettings
from tests.conftest import ROOT
from tests.processes import run_otolith


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if everything lay where services may look."""
    monkeypatch.setattr(installation, "HIDDEN", ())


def test_the_units_that_are_installed_are_those_that_ship() -> None:
    for path in (ROOT / "systemd").rglob("otolith*.service"):
        packaged = files("otolith") / "units" / str(path.relative_to(ROOT / "systemd"))
        assert packaged.read_text("utf-8") == path.read_text("utf-8")


def test_a_unit_calls_the_otolith_that_installs_it() -> None:
    text = Unit(name="hall").text("/opt/otolith/bin/otolith")
    assert "\nExecStart=/opt/otolith/bin/otolith run /etc/otolith/%i.toml\n" in text
    assert "\nExecReload=/opt/otolith/bin/otolith reload --pid $MAINPID\n" in text
    assert "/usr/bin/env otolith" not in text


def test_a_dry_run_shows_every_step_and_takes_none(tmp_path: Path, tiny_audio_file: Path) -> None:
    config = tmp_path / "otolith.toml"
    config.write_text(f'[[stream]]\nname = "kitchen"\nmodel = "{tiny_audio_file}"\nsource = "microphone:"\n')
    code, out, said = run_otolith("service", "install", "--user", "--config", config, "--dry-run")
    assert code == 0, said
    lines = [line for line in out.splitlines() if line.startswith("would")]
    assert [line.split()[1] for line in lines] == ["write", "write", "run", "run", "run", "run"]
    assert lines[0].endswith("/systemd/user/otolith.service")
    assert lines[2:] == [f"would run systemctl --user {what}" for what in RUN]
    assert not Unit(is_user=True).override.exists()


RUN = ("daemon-reload", "enable otolith.service", "reset-failed otolith.service", "restart otolith.service")


def test_wrong_settings_are_found_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "otolith.toml").write_text("publish = 7311\n")
    code, out, said = run_otolith("service", "install", "--user", "--config", tmp_path / "otolith.toml", "--dry-run")
    assert (code, out) == (78, "")
    assert "publish: Expected text" in said


def test_what_a_service_cannot_see_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/home/ann/python")
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    with pytest.raises(
        SettingsError, match="/home/ann/python: a service of the system sees neither home folders nor /tmp"
    ):
        steps_to_install(Unit(), Settings(), Path("/etc/otolith/otolith.toml"))


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize("closed", ["model.onnx", "."])
def test_what_the_services_user_cannot_read_is_refused(tmp_path: Path, closed: str) -> None:
    model = tmp_path / "models" / "model.onnx"
    model.parent.mkdir()
    for path in (model, tmp_path / "otolith.toml"):
        path.touch(0o644)
    for folder in model.parents[:4]:  # pytest's own are closed to others
        folder.chmod(0o755)
    (model.parent / closed).chmod(0o600)
    settings = Settings(stream=[StreamSettings(name="kitchen", model=str(model), source="microphone:")])
    with pytest.raises(SettingsError, match=r"the service's own user cannot .*; chmod o\+[rx] "):
        steps_to_install(Unit(), settings, tmp_path / "otolith.toml")


@pytest.mark.usefixtures("seen")
def test_what_lies_in_the_services_own_folder_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unit, "data", [tmp_path])
    (tmp_path / "otolith.toml").touch(0o600)
    assert steps_to_install(Unit(), Settings(), tmp_path / "otolith.toml")


def test_a_user_has_no_instances_and_a_name_is_a_name() -> None:
    with pytest.raises(UsageError, match="--name is for services of the system"):
        Unit(is_user=True, name="hall")
    with pytest.raises(UsageError, match="use letters, digits"):
        Unit(name="../hall")


def test_what_was_not_installed_cannot_be_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(OtolithError, match="nothing is installed"):
        steps_to_uninstall(Unit(is_user=True), purge=False)


def test_without_systemd_it_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OtolithError, match="systemd does not run this machine; have whatever starts services here"):
        require_systemd()
