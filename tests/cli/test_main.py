"""The command itself: what it lists, and what it says where the trainer is not installed."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from otolith import __version__
from otolith.cli import main
from otolith.errors import OtolithError


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "find_spec", lambda _name: None)


def test_help_lists_every_command(no_training: None) -> None:
    found = CliRunner().invoke(main.otolith, ["--help"])
    assert found.exit_code == 0
    for command in ("run", "subscribe", "infer", "devices", "check", "train", "evaluate"):
        assert f"  {command} " in found.output


def test_training_commands_say_how_to_install_the_trainer(no_training: None) -> None:
    found = CliRunner().invoke(main.otolith, ["train", "words.toml", "--data", "x"])
    assert isinstance(found.exception, OtolithError)
    assert "pip install 'otolith[training]'" in str(found.exception)
    assert found.exception.exit_code == 1


def test_the_version_is_the_distributions_own() -> None:
    assert __version__ in CliRunner().invoke(main.otolith, ["--version"]).output
