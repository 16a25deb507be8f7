"""What rows' own times tell, over simulated hours."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from otolith.recordings import read_sensor
from otolith.sources.reading.timeline import CLOCK_SET, LATE_ROWS, MISSING_ROWS, Placed, Timeline
from tests.conftest import ROOT

RATE = 100.0
HOUR = 360_000


def placed(times_s: NDArray[np.float64], rate: float = RATE, passed_s: float = 1 / RATE) -> list[Placed]:
    timeline = Timeline(rate)
    return [timeline.place(time_s, 0, passed_s) for time_s in times_s.tolist()]


def lost(places: list[Placed]) -> int:
    return sum(place.lost for place in places)


def even(rows: int, rate: float = RATE, drift: float = 0.0) -> NDArray[np.float64]:
    return np.arange(rows) / rate * (1 + drift)


@pytest.mark.parametrize(("drift", "jitter"), [(-5e-4, 0.0), (5e-4, 0.3)])
def test_neither_drift_nor_jitter_is_a_loss_in_an_hour(drift: float, jitter: float) -> None:
    noise = np.random.default_rng(1).uniform(-jitter, jitter, HOUR) / RATE
    assert all(place == Placed(True) for place in placed(even(HOUR, drift=drift) + noise))


def test_a_clock_that_changes_its_pace_in_the_sun_is_followed() -> None:
    pace = 1 + 4e-4 * np.sin(np.linspace(0, 20, HOUR // 4))
    assert all(place == Placed(True) for place in placed(np.cumsum(pace) / RATE))


@pytest.mark.parametrize("sensor_rate", [85.0, 102.5, 104.3, 118.0])
def test_a_sensor_a_little_off_its_rate_loses_nothing_and_holes_are_counted_at_its_own(sensor_rate: float) -> None:
    times_s = np.delete(even(20_000, sensor_rate), slice(10_000, 13_000))
    places = placed(times_s)
    assert [(number, place.lost) for number, place in enumerate(places) if place.lost] == [(10_000, 3000)]


@pytest.mark.parametrize("clock", [0.001, 0.1, 1.0])
def test_a_coarse_clock_loses_nothing(clock: float) -> None:
    times_s = np.floor(even(20_000) / clock + 1e-6) * clock
    assert lost(placed(times_s)) == 0


def test_rows_of_a_real_watch_that_are_held_up_now_and_then_are_learned() -> None:
    once_s = read_sensor(ROOT / "examples" / "demo" / "motion.csv").time_s
    times_s = np.concatenate([once_s + number * (once_s[-1] + 0.01) for number in range(100)])
    assert sum(place.lost > 0 for place in placed(times_s)) <= 5  # in 20 minutes


def test_bursts_cannot_make_the_pace_run_away() -> None:
    bursts = np.floor(np.arange(20_000) / 20) * 0.2 + np.arange(20_000) % 20 * 1e-4
    assert lost(placed(bursts)) < 200


def test_single_rows_are_missed_where_the_clock_is_good() -> None:
    noise = np.random.default_rng(2).normal(0, 0.05, 50_000) / RATE
    gone = np.arange(100, 50_000, 50)
    places = placed(np.delete(even(50_000) + noise, gone))
    assert lost(places) == len(gone)
    assert {place.reason for place in places} == {"", MISSING_ROWS}


def test_rows_without_a_time_among_others_are_rows() -> None:
    timeline = Timeline(RATE)
    for number in range(1000):
        if number % 10 > 6:
            timeline.pass_by(1)
        else:
            assert timeline.place(number / RATE, 0, 0.01) == Placed(True)


def test_late_rows_are_told_once() -> None:
    places = placed(np.array([0, 1, 2, 5, 3, 4, 6, 6.0, 5.5, 7]) / RATE)
    assert [(place.is_heard, place.lost, place.reason) for place in places[3:]] == [
        (True, 2, MISSING_ROWS),
        (False, 0, ""),  # told as missing
        (False, 0, ""),
        (True, 0, ""),
        (True, 0, ""),  # another row of the same moment: only one with the same values came twice
        (False, 1, LATE_ROWS),
        (True, 0, ""),
    ]


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 1e9, -1e9])
def test_a_clock_that_is_set_is_one_break_and_loses_nothing(jump_s: float) -> None:
    times_s = 2e9 + even(2000)
    times_s[1000:] += jump_s
    places = placed(times_s)
    assert all(place.is_heard for place in places)
    assert [(place.lost, place.reason) for place in places if place.reason] == [(0, CLOCK_SET)]


def test_a_clock_that_is_set_while_nothing_comes_loses_what_passed_by_ours() -> None:
    timeline = Timeline(RATE)
    for time_s in even(1000).tolist():
        timeline.place(time_s, 0, 0.01)
    assert timeline.place(0.0, 0, 30.0) == Placed(True, 2999, CLOCK_SET)  # a board that was switched off and on
    assert timeline.place(0.01, 0, 0.01) == Placed(True)


def test_an_hour_that_really_is_missing_is_counted() -> None:
    times_s = np.delete(even(HOUR + 2000), slice(1000, 1000 + HOUR))
    timeline = Timeline(RATE)
    places = [timeline.place(t, 0, 3600.0 if n == 1000 else 0.01) for n, t in enumerate(times_s.tolist())]
    assert lost(places) == HOUR


def test_one_wrong_time_costs_little() -> None:
    for wrong_s in (-1e6, -1.5, 1.5, 30.0, 1e6):
        times_s = even(5000)
        times_s[1000] = max(0.0, times_s[1000] + wrong_s) if wrong_s > -1e5 else wrong_s
        places = placed(times_s)
        assert all(place.is_heard for place in places[1300:])
        assert lost(places) <= 31 * RATE


def test_a_sensor_of_another_pace_is_followed_after_a_few_rows() -> None:
    places = placed(even(10_000, 50.0))
    assert lost(places) <= 8
    assert all(place == Placed(True) for place in places[20:])


def test_rows_of_a_meter_that_come_once_a_minute() -> None:
    minutes = np.array([*range(20), 25, *range(26, 40)]) * 60.0
    assert lost(placed(minutes, rate=1 / 60, passed_s=60)) == 5


def test_a_rate_that_nobody_knows_is_that_of_the_first_rows() -> None:
    assert lost(placed(np.delete(even(1000, 33.0), 500), rate=0.0)) == 1
