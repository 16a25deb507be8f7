"""Intervals: against tables, and against what drawing again shows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score

from otolith_training.measure.intervals import (
    accuracy_of,
    bootstrap,
    cluster_matrices,
    hours_for,
    macro_f1_of,
    number_groups,
    percentiles,
    rate_bound,
    rate_interval,
    share_interval,
)


def test_poisson_intervals_are_garwoods() -> None:
    assert rate_interval(0, 1.0) == pytest.approx((0, 3.689), abs=1e-3)
    assert rate_interval(5, 1.0) == pytest.approx((1.623, 11.668), abs=1e-3)
    assert rate_interval(5, 10.0) == pytest.approx((0.1623, 1.1668), abs=1e-4)
    assert rate_interval(0, 0.0) == (0.0, math.inf)


def test_no_alarm_in_half_an_hour_bounds_little() -> None:
    assert rate_bound(0, 31.7 / 60) == pytest.approx(5.67, abs=0.01)
    assert hours_for(0.1) == pytest.approx(30, abs=0.1)


def test_share_intervals_are_clopper_and_pearsons() -> None:
    assert share_interval(0, 10) == pytest.approx((0, 0.3085), abs=1e-4)
    assert share_interval(5, 10) == pytest.approx((0.1871, 0.8129), abs=1e-4)
    assert share_interval(0, 0) == (0.0, 1.0)


def test_macro_f1_of_a_matrix_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 200)
    found = np.where(random.random(200) < 0.7, truth, random.integers(0, 4, 200))
    matrix = cluster_matrices(truth, found, np.zeros(200, np.int64), 4).sum(axis=0)
    expected = f1_score(truth, found, labels=[0, 1, 2], average="macro")
    spoken = np.array([True, True, True, False])
    assert macro_f1_of(matrix, spoken) == pytest.approx(expected)
    assert accuracy_of(matrix) == pytest.approx((truth == found).mean())


def test_speakers_that_stand_or_fall_together_widen_the_interval() -> None:
    truth = np.zeros(400, np.int64)
    found = np.repeat(np.arange(20) % 2, 20)  # half of the speakers are never understood
    by_speaker = cluster_matrices(truth, found, np.repeat(np.arange(20), 20), 2)
    by_clip = cluster_matrices(truth, found, np.arange(400), 2)
    low, high = percentiles(bootstrap(by_speaker)["accuracy"])
    assert (low, high) == pytest.approx((0.3, 0.7), abs=0.06)
    narrow = percentiles(bootstrap(by_clip)["accuracy"])
    assert narrow[1] - narrow[0] < (high - low) / 3


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(100):
        found = (random.random(150) > 0.8).astype(np.int64)
        matrices = cluster_matrices(np.zeros(150, np.int64), found, np.arange(150), 2)
        low, high = percentiles(bootstrap(matrices, draws=500)["accuracy"])
        covered += low <= 0.8 <= high
    assert 88 <= covered <= 100


def test_groups_are_numbered_in_order_of_appearance() -> None:
    assert number_groups(["b", None, "b", "a"]).tolist() == [0, 1, 0, 2]
