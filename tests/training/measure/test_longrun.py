"""Long recordings: figures at budgets, and what so many hours can show."""

from __future__ import annotations

import json

import numpy as np
import pytest

from otolith.inference.card import Trigger
from otolith.inference.model import Model
from otolith_training.measure.choose import choose
from otolith_training.measure.longrun import best_within, figures_of
from otolith_training.measure.tracks import Event, Track

HOP, RATE = 320, 16000
TRIGGERS = {"yes": Trigger(0.6, 0.3, 0.0, 0.3)}


def track(peaks: dict[float, float], events: list[float], seconds: float = 360.0) -> Track:
    """A track in which "yes" rises for 0.2 s at each time to its peak, and is to be heard at `events`."""
    yes = np.zeros(round(seconds * 50), np.float32)
    for at_s, height in peaks.items():
        yes[round(at_s * 50) : round(at_s * 50) + 10] = height
    posteriors = np.stack([yes, 0 * yes, 1 - yes], axis=1)
    spoken = tuple(Event("yes", round(at_s * RATE), round((at_s + 0.3) * RATE)) for at_s in events)
    return Track("made up", None, posteriors, spoken, len(yes) * HOP)


def test_misses_alarms_and_delay_are_told_with_the_hours_they_rest_on(tiny_audio: Model) -> None:
    heard = track({10: 0.9, 20: 0.4, 30: 0.7}, events=[10, 20])
    figures = figures_of([heard], tiny_audio.card, TRIGGERS)
    own = figures["at_card"]
    assert (own["events"], own["hits"], own["false_alarms"], own["missed"]) == (2, 1, 1, 0.5)
    assert figures["hours"] == pytest.approx(0.1)
    assert figures["negative_hours"] == pytest.approx(0.1 - 2 * 0.8 / 3600)
    assert own["false_alarms_per_hour"] == pytest.approx(10)
    assert own["delay_s"]["median"] == pytest.approx(0.02 - 0.3), "told in its first frame, before the word's end"
    json.dumps(figures)


def test_a_budget_buys_the_fewest_misses_it_can(tiny_audio: Model) -> None:
    heard = [track({10: 0.9, 20: 0.6, 30: 0.7}, events=[10, 20]) for _ in range(10)]  # an hour in all
    by_target = {p["target"]: p for p in figures_of(heard, tiny_audio.card, TRIGGERS)["operating_points"]}
    assert by_target[12.0]["missed"] == 0
    assert by_target[12.0]["false_alarms"] == 10
    assert by_target[3.0]["missed"] == 0.5
    assert by_target[3.0]["false_alarms"] == 0
    assert 0.7 < by_target[3.0]["thresholds"]["yes"] <= 0.9


def test_a_target_that_the_hours_cannot_support_says_so(tiny_audio: Model) -> None:
    hour = [track({}, events=[10]) for _ in range(10)]
    by_target = {p["target"]: p for p in figures_of(hour, tiny_audio.card, TRIGGERS)["operating_points"]}
    assert by_target[3.0]["supported"]
    assert "note" not in by_target[3.0]
    assert not by_target[0.5]["supported"]
    assert by_target[0.5]["note"] == (
        "0 in 1.00 h only bounds the rate under 3 an hour (95 %); 0.5 an hour needs 6.0 h without one"
    )


def test_of_equal_settings_the_strictest_is_taken_and_none_where_all_alarm_too_often() -> None:
    totals = np.array([[9, 10, 50], [8, 10, 2], [8, 10, 1], [1, 10, 0]])
    assert best_within(totals, 2.0, 1.0) == 2
    assert best_within(totals[:1], 2.0, 1.0) is None


def test_what_is_chosen_keeps_to_the_budget_and_misses_least(tiny_audio: Model) -> None:
    heard = [track({10: 0.93, 20: 0.5, 30: 0.7}, events=[10, 20]) for _ in range(10)]
    strict, expected = choose(heard, tiny_audio.card, budget=3.0)
    assert 0.5 < strict["yes"].threshold <= 0.93
    assert (expected["false_alarms"], expected["missed"]) == (0, 0.5)
    loose, expected = choose(heard, tiny_audio.card, budget=12.0)
    assert loose["yes"].threshold <= 0.5
    assert (expected["false_alarms"], expected["missed"]) == (10, 0)
    assert loose["no"] == tiny_audio.card.detector["no"], "a label that was never spoken keeps the card's trigger"


def test_a_label_may_have_a_budget_of_its_own(tiny_audio: Model) -> None:
    heard = [track({10: 0.93, 20: 0.5, 30: 0.7}, events=[10, 20]) for _ in range(10)]
    own, expected = choose(heard, tiny_audio.card, budget=0.0, budgets={"yes": 12.0})
    assert expected["per_label"]["yes"]["missed"] == 0
    assert own["yes"].threshold <= 0.5


def test_what_to_expect_is_counted_where_it_was_not_chosen(tiny_audio: Model) -> None:
    heard = [track({10: 0.75, 20: 0.75, 30 + number: 0.5 + 0.1 * number}, events=[10, 20]) for number in range(4)]
    chosen, expected = choose(heard, tiny_audio.card, budget=0.0)
    assert chosen["yes"].threshold > 0.7, "none of the four streams may alarm, the loudest among them"
    assert expected["false_alarms"] == 1, "the loudest was silenced only by the choice that had heard it"
