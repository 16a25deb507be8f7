"""`otolith forget`: what is asked for goes, nothing else, and not before somebody said yes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from otolith.cli.forget import forget
from otolith.errors import OtolithError, UsageError
from otolith.service.ailments import Ailments
from otolith.service.keeping.checkpoint import decode, spread
from otolith.service.keeping.keeper import Keeper
from otolith.settings import StateSettings
from otolith.sinks.shelves import segments
from tests.service.keeping.test_keeper import checkpoint, kept
from tests.sinks.test_segment import INT16, write


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Recordings of two streams, those of the kitchen two days old; and a state that both are in."""
    tapes, state = tmp_path / "tapes", tmp_path / "state"
    for stream in ("kitchen", "hall"):
        write(tapes / stream, "audio", INT16, stream)
    for path in (tapes / "kitchen").iterdir():
        os.utime(path, (time.time() - 2 * 86_400,) * 2)
    (tapes / "models").mkdir()
    (tapes / "models" / "digest.onnx").write_bytes(b"model")
    keeper = Keeper(StateSettings(folder=str(state)), state, 0, Ailments())
    keeper.close(checkpoint(kitchen=kept(1), hall=kept(2)))
    keeper._thread.join(20)
    return tapes, state


def run(folders: tuple[Path, Path], *arguments: str, answer: str = "") -> Result:
    places = ("--recordings", str(folders[0]), "--state", str(folders[1]))
    return CliRunner().invoke(forget, [*places, *arguments], input=answer)


def left(folders: tuple[Path, Path]) -> tuple[list[str], list[str]]:
    tapes, state = folders
    states = [stream for path in state.glob("*.state") for stream in spread(decode(path.read_bytes()))]
    return sorted(each.folder.name for each in segments(tapes)), states


def test_nothing_goes_before_somebody_said_yes(folders: tuple[Path, Path]) -> None:
    result = run(folders, "--all", answer="n\n")
    assert result.exit_code == 1
    assert "recordings of kitchen: 1 segment(s)" in result.output
    assert left(folders) == (["hall", "kitchen"], ["kitchen", "hall"])


def test_one_streams_recordings_and_state_go(folders: tuple[Path, Path]) -> None:
    result = run(folders, "--stream", "hall", answer="y\n")
    assert "removed: 1 segment(s), 0.0 MB, and the state of 1 stream(s)" in result.output
    assert left(folders) == (["kitchen"], ["kitchen"])
    assert (folders[0] / "models" / "digest.onnx").exists()


def test_what_is_older_goes(folders: tuple[Path, Path]) -> None:
    run(folders, "--older-than", "1d", "--yes")
    assert left(folders) == (["hall"], ["kitchen", "hall"])
    assert "nothing to forget" in run(folders, "--older-than", "1d", "--yes").output


def test_all_goes(folders: tuple[Path, Path]) -> None:
    assert run(folders, "--all", "--yes").exit_code == 0
    assert left(folders) == ([], [])
    assert not list(folders[0].rglob("*"))
    assert {path.suffix for path in folders[1].iterdir()} == {".lock"}


def test_the_state_of_a_running_daemon_is_not_taken_from_under_it(folders: tuple[Path, Path]) -> None:
    keeper = Keeper(StateSettings(folder=str(folders[1])), folders[1], 0, Ailments())
    result = run(folders, "--all", "--yes")
    assert isinstance(result.exception, OtolithError)
    assert "stop it first" in str(result.exception)
    assert left(folders) == (["hall", "kitchen"], ["kitchen", "hall"])
    keeper.close(checkpoint())


@pytest.mark.parametrize("arguments", [(), ("--all", "--stream", "hall"), ("--older-than", "yesterday")])
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], folders: tuple[Path, Path]) -> None:
    assert isinstance(run(folders, *arguments).exception, UsageError)
