"""The sweep: it finds what the daemon's detector finds, and holds it against what was to be heard."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from otolith.inference.card import Trigger
from otolith.inference.detector import Detector
from otolith.inference.model import Model
from otolith_training.measure.sweep import Smoothed, find_all, match, moved, shifts, sweep
from otolith_training.measure.tracks import Event, Track

HOP = 320
RATE = 16000


def track(yes: list[float], *events: Event) -> Track:
    """A track whose frames of 20 ms hold `yes` with these posteriors."""
    posteriors = np.array([[value, 0.0, 1 - value] for value in yes], np.float32).reshape(-1, 3)
    return Track("made up", None, posteriors, events, len(yes) * HOP)


triggers = st.builds(
    lambda threshold, share, smoothing_s, refractory_s: Trigger(
        threshold, share * threshold, smoothing_s, refractory_s
    ),
    st.floats(0.05, 1.0),
    st.floats(0.0, 1.0),
    st.sampled_from([0.0, 0.02, 0.1, 0.37]),
    st.sampled_from([0.0, 0.01, 0.02, 0.05, 0.5]),
)


@given(
    arrays(np.float32, st.integers(0, 400), elements=st.sampled_from(np.linspace(0, 1, 9, dtype=np.float32))),
    triggers,
)
@example(np.ones(30, np.float32), Trigger(1.0, 1.0, 0.0, 0.0))
def test_it_finds_exactly_what_the_detector_finds(tiny_audio: Model, yes: np.ndarray, trigger: Trigger) -> None:
    heard = track(yes.tolist())
    found = Smoothed([heard], tiny_audio.card, "yes", trigger.smoothing_s, trigger.release).starts(trigger)[0]
    detections = Detector(tiny_audio.card, {"yes": trigger}).push(heard.posteriors, 0)
    assert found.tolist() == [d.position for d in detections if d.phase == "start"]


@given(st.integers(0, 2**32 - 1), triggers)
def test_it_finds_exactly_what_the_detector_finds_in_posteriors_that_wander(
    tiny_audio: Model, seed: int, trigger: Trigger
) -> None:
    walk = np.cumsum(np.random.default_rng(seed).normal(0, 0.25, 600))
    heard = track((0.5 + 0.5 * np.sin(walk)).tolist())
    found = Smoothed([heard], tiny_audio.card, "yes", trigger.smoothing_s, trigger.release / 2).starts(trigger)[0]
    detections = Detector(tiny_audio.card, {"yes": trigger}).push(heard.posteriors, 0)
    assert found.tolist() == [d.position for d in detections if d.phase == "start"]


def test_a_detection_up_to_half_a_second_late_is_a_hit_and_any_other_is_false() -> None:
    event = np.array([[RATE, 2 * RATE]])
    late = RATE // 2
    for position, hit in [(RATE - 1, False), (RATE, True), (5 * RATE // 2, True), (5 * RATE // 2 + 1, False)]:
        hit_at, false = match(np.array([position]), event, late)
        assert (np.isfinite(hit_at[0]), len(false)) == (hit, not hit)


def test_an_event_takes_one_detection_and_two_events_in_reach_take_one_each() -> None:
    assert match(np.array([10, 20]), np.array([[0, 30]]), 5)[1].tolist() == [20]
    hit_at, false = match(np.array([10, 20]), np.array([[0, 9], [8, 30]]), 5)
    assert (hit_at.tolist(), false.tolist()) == ([10, 20], [])


def test_a_detection_within_another_labels_event_is_false(tiny_audio: Model) -> None:
    heard = track([0.0] * 5 + [1.0] * 5 + [0.0] * 5, Event("no", 0, 15 * HOP))
    found = find_all([heard], tiny_audio.card, {"yes": Trigger(0.5, 0.3, 0.0, 0.0), "no": Trigger(0.5, 0.3, 0.0, 0.0)})
    assert (found["yes"].false_alarms, found["yes"].events) == (1, 0)
    assert (found["no"].hits, found["no"].events) == (0, 1)


def test_a_sweep_passes_through_the_cards_own_thresholds(tiny_audio: Model) -> None:
    card = tiny_audio.card
    random = np.random.default_rng(3)
    heard = track(random.beta(0.2, 0.6, 3000).tolist(), *(Event("yes", k * RATE, k * RATE + 4000) for k in range(50)))
    own = int(np.flatnonzero(shifts(card.detector) == 0)[0])
    at_card = find_all([heard], card, card.detector)["yes"]
    swept = sweep([heard], card, card.detector)["yes"][own]
    assert at_card.hits
    assert at_card.false_alarms
    assert (swept.hits, swept.false_alarms) == (at_card.hits, at_card.false_alarms)


def test_the_release_moves_in_proportion_with_its_threshold() -> None:
    trigger = moved(Trigger(0.5, 0.2, 0.1, 0.3), 2.0)
    assert trigger.threshold > 0.8
    assert trigger.release / trigger.threshold == pytest.approx(0.4)
    assert (trigger.smoothing_s, trigger.refractory_s) == (0.1, 0.3)
