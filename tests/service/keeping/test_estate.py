"""The estate: which streams the run before may have heard, though it had not kept them yet."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from otolith.service.ailments import Ailments
from otolith.service.keeping.checkpoint import Checkpoint, encode
from otolith.service.keeping.estate import KEPT_S, SLACK_S, Estate, read_estate
from otolith.service.keeping.keeper import Keeper
from otolith.sources.network.returns import RESTARTED
from tests.service.keeping.test_keeper import checkpoint, kept, settings
from tests.sources.network.test_roster import Driven, told

NOISE_S = 0.5  # of a loaded machine


def write(folder: Path, number: int, ago_s: float, since_s: float | None = None) -> None:
    """A file that was written `ago_s`, and says that streams younger than `since_s` are not in it."""
    path, now_ns = folder / f"{number}.state", time.time_ns()
    path.write_bytes(encode(Checkpoint([], 0 if since_s is None else now_ns - round(since_s * 1e9))))
    os.utime(path, ns=(now_ns, now_ns - round(ago_s * 1e9)))


def lacks_until_s(estate: Estate) -> float:
    """How old a stream may be now that may be lacking; 0 where none may."""
    now_s = time.monotonic()
    return next((age / 10 for age in range(1200, 0, -1) if estate.may_lack(age / 10, now_s)), 0.0)


@pytest.mark.parametrize(
    ("files", "expected_s"),
    [
        ([], None),
        ([(4.0, 5.0)], 5.0),
        ([(4.0, None)], 4.0),  # of an earlier version
        ([(4.0, 5.0), (2.0, 9.0)], 9.0),  # two workers
        ([(4.0, 5.0), (70.0, 71.0)], 5.0),  # a worker that is no more
        ([(50.0, 90.0)], KEPT_S),
        ([(61.0, 61.0)], None),
        ([(-3600.0, -3600.0)], 0.0),  # the clock was set back
    ],
)
def test_younger_than_the_oldest_checkpoint_of_the_last_minute(
    files: list[tuple[float, float | None]], expected_s: float | None, tmp_path: Path
) -> None:
    for number, (ago_s, since_s) in enumerate(files):
        write(tmp_path, number, ago_s, since_s)
    estate = read_estate(tmp_path)
    assert estate.is_known == (expected_s is not None)
    expected_s = 0.0 if expected_s is None else expected_s + SLACK_S
    assert expected_s - 0.1 <= lacks_until_s(estate) <= expected_s + NOISE_S


def test_a_file_that_cannot_be_read_tells_at_least_when_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "0.state").write_bytes(b"noise")
    assert SLACK_S - 0.1 <= lacks_until_s(read_estate(tmp_path)) <= SLACK_S + NOISE_S


def test_a_minute_behind_the_start_nothing_comes_back(tmp_path: Path) -> None:
    write(tmp_path, 0, 1.0)
    estate = read_estate(tmp_path)
    assert estate.may_lack(1.0, time.monotonic() + KEPT_S - 1)
    assert not estate.may_lack(1.0, time.monotonic() + KEPT_S)


def test_a_run_that_ends_before_its_streams_are_back_hands_on_since_when_they_may_be_lacking(tmp_path: Path) -> None:
    write(tmp_path, 0, 20.0, 30.0)
    for _ in range(3):
        keeper = Keeper(settings(tmp_path), tmp_path, 0, Ailments())
        assert 30 + SLACK_S - 0.1 <= lacks_until_s(keeper.estate) <= 30 + SLACK_S + 3 * NOISE_S
        keeper.close(checkpoint(kitchen=kept(1)))


def test_a_stream_that_fell_silent_tells_the_next_run_but_one_what_it_lost(tmp_path: Path) -> None:
    first, driven = Keeper(settings(tmp_path), tmp_path, 0, Ailments()), Driven()
    driven.now_s = time.monotonic()
    driven.take(90_000)
    driven.fall_silent()
    first.gone = driven.roster.returns.gone
    first.close(checkpoint())
    Keeper(settings(tmp_path), tmp_path, 0, Ailments()).close(checkpoint())  # it is not back yet
    third = Keeper(settings(tmp_path), tmp_path, 0, Ailments())
    driven = Driven(kept=third.estate)
    driven.take(91_000)
    assert [told(block) for block in driven.blocks()] == [(10, 990, RESTARTED)]
    third.estate.ask("kitchen")
    third.close(checkpoint())
    assert read_estate(tmp_path).standing("kitchen") is None  # it is here again, and kept as others are


def test_a_checkpoint_of_a_first_run_tells_when_it_was_taken(tmp_path: Path) -> None:
    keeper = Keeper(settings(tmp_path), tmp_path, 0, Ailments())
    assert not keeper.estate.is_known
    keeper.close(checkpoint())
    assert abs(time.time_ns() - read_estate(tmp_path).since_ns(time.monotonic())) < NOISE_S * 1e9
