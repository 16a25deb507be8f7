"""The stitcher: rows and labels stay together however a run is turned, hurried or drawn out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from otolith_training.data.composer import Chunk
from otolith_training.data.material import list_runs, load_rows
from otolith_training.data.stitcher import (
    RunStitcher,
    even_pace,
    rotation,
    smooth_factor,
    take_rows,
    three_axis,
    uneven_pace,
)
from otolith_training.recipe import Runs
from tests.training.small import DATA, motion_recipe

NAMES = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]


def stitched(settings: Runs, count: int, seed: int = 0) -> list[Chunk]:
    recipe = motion_recipe()
    rows = load_rows(recipe, list_runs(recipe, DATA), "train")
    stitcher = RunStitcher(rows, settings, NAMES, 4, streams=1, frames=100, fresh_start=0.0, seed=seed)
    return [stitcher.next() for _ in range(count)]


def test_stitched_runs_carry_their_labels_row_by_row() -> None:
    recipe = motion_recipe()
    rows = load_rows(recipe, list_runs(recipe, DATA), "train")
    chunks = stitched(Runs(rotation_deg=0, scale=0, jitter=0, speed=(1, 1)), 12)
    values = np.concatenate([chunk.frames[0] for chunk in chunks])
    labels = np.concatenate([chunk.allowed[0].argmax(axis=1) for chunk in chunks])
    truth = {row.tobytes(): label for row, label in zip(rows.runs[0].values, rows.labels[0], strict=True)}
    assert all(truth[row.tobytes()] == label for row, label in zip(values, labels, strict=True))


def test_streams_that_always_start_afresh_on_a_run_are_plain_windows_of_it() -> None:
    recipe = motion_recipe()
    rows = load_rows(recipe, list_runs(recipe, DATA), "train")
    still = Runs(rotation_deg=0, scale=0, jitter=0, speed=(1, 1), start_on_run=1.0)
    stitcher = RunStitcher(rows, still, NAMES, 4, streams=3, frames=128, fresh_start=1.0, seed=0)
    chunk = [stitcher.next() for _ in range(3)][-1]
    assert chunk.fresh.all()
    firsts = [run.values[:128].tobytes() for run in rows.runs]
    assert all(stream.tobytes() in firsts for stream in chunk.frames)


def test_three_axes_are_found_by_name_and_turned_without_stretching() -> None:
    assert three_axis(["acc_x", "acc_y", "acc_z", "light", "gyro_x"]) == [[0, 1, 2]]
    turn = rotation(np.random.default_rng(0), 30.0)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("settings", [Runs(), Runs(time_warp=0.2, rate_drift=0.1, magnitude_warp=0.2)])
def test_the_same_seed_gives_the_same_rows_and_another_seed_others(settings: Runs) -> None:
    first, again, other = (stitched(settings, 3, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].frames, other[0].frames)


def ramp(rows: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A run whose value is its row's number, and its label too."""
    number = np.arange(rows)
    return number.astype(np.float32)[:, None], number


@pytest.mark.parametrize(("time_warp", "rate_drift"), [(0.3, 0.0), (0.0, 0.3), (1.0, 1.0)])
def test_labels_follow_their_rows_through_a_speed_that_changes(time_warp: float, rate_drift: float) -> None:
    for seed in range(20):
        place = uneven_pace(np.random.default_rng(seed), 500, 400, time_warp, rate_drift)
        assert (place[0], place[-1], len(place)) == (0, 499, 400)
        assert (np.diff(place) > 0).all()
        values, labels = take_rows(*ramp(500), place)
        assert np.abs(values[:, 0] - labels).max() <= 0.5 + 1e-3
        assert np.abs(place - even_pace(500, 1.25)).max() > 1


def test_a_clock_that_drifts_is_off_steadily_from_the_start_to_the_end() -> None:
    steps = np.diff(uneven_pace(np.random.default_rng(4), 1000, 1000, 0.0, 0.1))
    turns = np.diff(steps)
    assert np.ptp(steps) > 0.01
    np.testing.assert_allclose(turns, turns.mean(), atol=1e-9)


def test_a_steady_pace_changes_nothing() -> None:
    np.testing.assert_allclose(uneven_pace(np.random.default_rng(0), 300, 300, 0.0, 0.0), even_pace(300, 1.0))
    values, labels = take_rows(*ramp(300), even_pace(300, 1.0))
    np.testing.assert_array_equal(values[:, 0], labels)


def test_a_smooth_factor_is_about_one_and_has_no_jumps() -> None:
    factors = np.stack([smooth_factor(np.random.default_rng(seed), 600, 0.2) for seed in range(200)])
    assert factors[:, [0, -1]].std() == pytest.approx(0.2, rel=0.2)
    assert factors.mean() == pytest.approx(1, abs=0.02)
    assert np.abs(np.diff(factors)).max() < 0.2 * 8 / (600 / 5)
