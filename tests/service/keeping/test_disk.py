"""A disk: what stands against the next write is seen without one."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from otolith.service.keeping.disk import obstacle, replace_file


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state" / "0.state"
    path.parent.mkdir()
    replace_file(path, b"content")
    return path


def test_nothing_stands_against_a_write_where_one_would_succeed(state: Path) -> None:
    assert obstacle(state, 1000) == ""
    state.with_suffix(".new").touch()  # of a run that was killed
    assert obstacle(state, 1000) == ""
    assert sorted(path.name for path in state.parent.iterdir()) == ["0.new", "0.state"]


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


def blocked(folder: Path) -> None:
    (folder / "0.new").mkdir()


@pytest.mark.parametrize(
    ("fail", "expected"),
    [(gone, "No such file or directory"), (a_file, "Not a directory"), (blocked, "Is a directory")],
)
def test_what_stands_against_one_is_said_as_the_write_would(
    fail: Callable[[Path], None], expected: str, state: Path
) -> None:
    fail(state.parent)
    assert obstacle(state, 1000) == expected
    with pytest.raises(OSError, match=expected):
        replace_file(state, b"content")


def test_a_file_may_need_more_than_there_is(state: Path) -> None:
    disk = os.statvfs(state)
    assert obstacle(state, (disk.f_bfree + 1) * disk.f_frsize) == "No space left on device"


def test_a_file_may_need_more_than_it_may_have(state: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        seen = obstacle(state, 11), obstacle(state, 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert seen == ("File too large", "")
