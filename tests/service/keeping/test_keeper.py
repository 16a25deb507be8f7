"""The keeper: the last whole checkpoint is always there, whatever ends the process or ails the disk."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from otolith.inference.memory import Memory
from otolith.service.ailments import Ailments
from otolith.service.keeping.checkpoint import Checkpoint, alone, decode, encode
from otolith.service.keeping.disk import replace_file
from otolith.service.keeping.keeper import Keeper, state_folder
from otolith.service.keeping.resumption import Ear, Kept
from otolith.settings import StateSettings
from otolith.wire.scribe import Unsent

SELDOM_S = 3600.0
KILLS = int(os.environ.get("OTOLITH_KILLS", "20"))


def kept(number: int, floats: int = 10, told_ns: int = 1) -> Kept:
    memory = Memory(number, 0, {}, [], {"state.hidden": np.full((1, floats), number, np.float32)})
    return Kept("digest", memory, Ear(told_ns, 16000.0, "run", number, Unsent([], [], 0, 0, [0] * 6), None, None))


def checkpoint(**streams: Kept) -> Checkpoint:
    return Checkpoint([alone(name, each) for name, each in streams.items()])


def settings(folder: Path, period_s: float = 0.05) -> StateSettings:
    return StateSettings(folder=str(folder), period_s=period_s)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_what_one_run_kept_the_next_is_told_once(tmp_path: Path) -> None:
    first = Keeper(settings(tmp_path), tmp_path, 0, Ailments())
    first.take(checkpoint(kitchen=kept(1)))
    first.close(checkpoint(kitchen=kept(2), hall=kept(3)))
    second = Keeper(settings(tmp_path), tmp_path, 0, Ailments())
    standing = second.estate.standing("kitchen")
    assert standing is not None
    assert (standing.boot, standing.seq) == ("run", 2)
    found = second.estate.ask("kitchen")
    assert found is not None
    assert (found.memory.position, found.memory.rows["state.hidden"][0, 0]) == (2, 2)
    assert second.estate.ask("kitchen") is None
    second.close(checkpoint())
    third = Keeper(settings(tmp_path), tmp_path, 0, Ailments())
    assert third.estate.ask("kitchen") is None  # the second run took it up, and it ended there
    assert third.estate.ask("hall") is not None  # it never came back in the second run, and may yet
    third.close(checkpoint())


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    Keeper(settings(folder), folder, 0, Ailments()).close(checkpoint(kitchen=kept(1)))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_streams_find_their_state_when_the_number_of_workers_has_changed(tmp_path: Path) -> None:
    for number in range(3):
        names = {f"s{number}": kept(number), "moved": kept(10 + number, told_ns=10 - number)}
        Keeper(settings(tmp_path), tmp_path, number, Ailments()).close(checkpoint(**names))
    one = Keeper(settings(tmp_path), tmp_path, 0, Ailments())
    assert all(one.estate.ask(f"s{number}") for number in range(3))
    newest = one.estate.ask("moved")
    assert newest is not None
    assert newest.memory.position == 10
    one.close(checkpoint())


def test_a_second_daemon_takes_nothing_up_and_writes_nothing(tmp_path: Path) -> None:
    first = Keeper(settings(tmp_path), tmp_path, 0, Ailments())
    first.take(checkpoint(kitchen=kept(1)))
    wait_for((tmp_path / "0.state").exists)
    ailments = Ailments()
    second = Keeper(settings(tmp_path), tmp_path, 0, ailments)
    assert second.estate.ask("kitchen") is None
    assert "another daemon keeps its state there" in ailments.text
    second.close(checkpoint())
    first.close(checkpoint(kitchen=kept(2)))
    assert decode((tmp_path / "0.state").read_bytes()).groups[0].streams[0].position == 2


@pytest.mark.parametrize("content", [b"", b"otolith state 1\n", b"\x80\x04K\x01.", os.urandom(1000)])
def test_a_broken_file_is_told_and_everything_starts_afresh(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "0.state").write_bytes(content)
    keeper = Keeper(settings(tmp_path), tmp_path, 0, Ailments())
    assert keeper.estate.ask("kitchen") is None
    assert "start afresh" in caplog.text
    keeper.close(checkpoint(kitchen=kept(1)))
    assert decode((tmp_path / "0.state").read_bytes()).groups


def test_a_disk_that_fails_is_told_until_it_heals(tmp_path: Path) -> None:
    ailments = Ailments()
    woken: list[str] = []
    ailments.wake = lambda: woken.append(ailments.text)
    keeper = Keeper(settings(tmp_path), tmp_path, 0, ailments)
    keeper.take(checkpoint(kitchen=kept(1)))
    wait_for((tmp_path / "0.state").exists)
    (tmp_path / "0.new").symlink_to("/dev/full")
    keeper.take(checkpoint(kitchen=kept(2)))
    wait_for(lambda: bool(ailments.text))
    assert ailments.text == f"state: {tmp_path}/0.state: No space left on device"
    assert decode((tmp_path / "0.state").read_bytes()).groups[0].streams[0].position == 1
    keeper.take(checkpoint(kitchen=kept(3)))
    wait_for(lambda: not ailments.text)
    assert len(woken) == 2
    keeper.close(checkpoint(kitchen=kept(4)))


def test_a_disk_that_hangs_holds_up_nobody_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ailments = Ailments()
    keeper = Keeper(settings(tmp_path, SELDOM_S), tmp_path, 0, ailments)
    os.mkfifo(tmp_path / "0.new")  # to open it for writing waits for a reader
    keeper.take(checkpoint(kitchen=kept(1)))
    wait_for(lambda: keeper._began_s > 0)
    monkeypatch.setattr("otolith.service.keeping.keeper.SLOW_S", 0.01)
    started_s = time.monotonic()
    wait_for(lambda: not keeper.wants(time.monotonic()) and bool(ailments.text))
    assert "the disk does not answer" in ailments.text
    keeper.close(checkpoint(kitchen=kept(2)))
    assert time.monotonic() - started_s < 10
    os.close(os.open(tmp_path / "0.new", os.O_RDONLY | os.O_NONBLOCK))  # let the thread go


def test_a_checkpoint_is_kept_only_once_what_it_counts_as_told_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otolith.service.keeping.keeper.SETTLE_S", 20)
    keeper = Keeper(settings(tmp_path), tmp_path, 0, Ailments())
    keeper.take(checkpoint())  # of the start: it tells of nothing
    wait_for((tmp_path / "0.state").exists)
    keeper.take(checkpoint(kitchen=kept(1)))
    time.sleep(0.1)
    assert not decode((tmp_path / "0.state").read_bytes()).groups
    keeper.close(checkpoint(kitchen=kept(2)))
    assert decode((tmp_path / "0.state").read_bytes()).groups[0].streams[0].position == 2


def pumped(keeper: Keeper, condition: Callable[[], bool]) -> int:
    """How many checkpoints are asked for until it is so."""
    taken = 0

    def turn() -> bool:
        nonlocal taken
        if keeper.wants(time.monotonic()):
            keeper.take(checkpoint(kitchen=kept(taken := taken + 1)))
        return condition()

    wait_for(turn)
    return taken


def folder_beside(folder: Path) -> Callable[[], None]:
    (folder / "0.new" / "within").mkdir(parents=True)
    return lambda: shutil.rmtree(folder / "0.new")


def folder_gone(folder: Path) -> Callable[[], None]:
    shutil.rmtree(folder)
    return folder.mkdir


def file_instead(folder: Path) -> Callable[[], None]:
    shutil.rmtree(folder)
    folder.touch()
    return lambda: (folder.unlink(), folder.mkdir())[1]


@pytest.mark.parametrize("fail", [folder_beside, folder_gone, file_instead])
def test_what_comes_in_the_way_is_told_long_before_the_next_checkpoint_and_so_is_that_it_has_gone(
    fail: Callable[[Path], Callable[[], None]], tmp_path: Path
) -> None:
    folder, ailments = tmp_path / "state", Ailments()
    keeper = Keeper(settings(folder, SELDOM_S), folder, 0, ailments)
    pumped(keeper, (folder / "0.state").exists)
    heal = fail(folder)
    pumped(keeper, lambda: bool(ailments.text))
    heal()
    pumped(keeper, lambda: not ailments.text)
    assert (folder / "0.state").exists()
    keeper.close(checkpoint())


def test_a_write_that_failed_for_no_reason_to_be_seen_is_tried_again_long_before_the_next_is_due(
    tmp_path: Path,
) -> None:
    ailments = Ailments()
    keeper = Keeper(settings(tmp_path, SELDOM_S), tmp_path, 0, ailments)
    (tmp_path / "0.new").symlink_to("/dev/full")
    pumped(keeper, lambda: bool(ailments.text))
    pumped(keeper, lambda: not ailments.text)
    keeper.close(checkpoint())


def test_a_look_that_is_wrong_costs_one_write_and_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otolith.service.keeping.keeper.LOOK_S", 0.01)
    looks, ailments = [0], Ailments()

    def look(_path: Path, _size: int) -> str:
        looks[0] += 1
        return "No space left on device"

    keeper = Keeper(settings(tmp_path, SELDOM_S), tmp_path, 0, ailments)
    pumped(keeper, (tmp_path / "0.state").exists)
    monkeypatch.setattr("otolith.service.keeping.keeper.obstacle", look)
    assert pumped(keeper, lambda: looks[0] > 20) == 1
    assert not ailments.text
    keeper.close(checkpoint())


def test_where_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert state_folder(StateSettings()) is None
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/otolith:/var/lib/other")
    assert state_folder(StateSettings()) == Path("/var/lib/otolith/streams")
    assert state_folder(StateSettings(folder=False)) is None
    assert state_folder(StateSettings(folder="/elsewhere")) == Path("/elsewhere")


WRITERS = """
import itertools, os, sys
from pathlib import Path
from otolith.service.keeping.checkpoint import encode
from otolith.service.keeping.disk import replace_file
from tests.service.keeping.test_keeper import checkpoint, kept
for line in sys.stdin:
    contents = [encode(checkpoint(kitchen=kept(int(line) + number, 300_000))) for number in range(4)]
    writer = os.fork()
    if not writer:
        for content in itertools.cycle(contents):
            replace_file(Path(sys.argv[1]), content)
    print(writer, flush=True)
    os.waitpid(writer, 0)
    print("gone", flush=True)
"""


def test_killed_within_a_write_the_state_before_it_loads(tmp_path: Path) -> None:
    path, beside = tmp_path / "0.state", tmp_path / "0.new"
    replace_file(path, encode(checkpoint(kitchen=kept(0))))
    written = within = 0
    command = [sys.executable, "-c", WRITERS, str(path)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        for _ in range(KILLS):
            writers.stdin.write(f"{written + 1}\n")
            writers.stdin.flush()
            writer = int(writers.stdout.readline())
            time.sleep(random.random() * 0.02)
            while not beside.exists():
                time.sleep(0.0003)
            os.kill(writer, signal.SIGKILL)
            assert writers.stdout.readline() == "gone\n"
            within += beside.exists()
            [group] = decode(path.read_bytes()).groups
            found = group.streams[0].position
            assert (group.rows["state.hidden"] == found).all()
            assert written <= found <= written + 4
            written = found
            beside.unlink(missing_ok=True)
        writers.stdin.close()
    assert within >= KILLS // 4, f"{within} of {KILLS} were killed within a write"
    print(f"{within} of {KILLS} were killed within a write")
