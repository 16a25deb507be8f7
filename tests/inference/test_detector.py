"""Detection: when a label starts, ends and rests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otolith.inference.card import Trigger
from otolith.inference.detector import Detector
from otolith.inference.events import Detection
from otolith.inference.model import Model

HOP = 320


def detect(model: Model, yes: list[float], **changes: float) -> list[Detection]:
    """Detections of one label's posteriors, one a frame of 20 ms; unsmoothed unless told."""
    trigger = Trigger(**{"threshold": 0.6, "release": 0.3, "smoothing_s": 0.0, "refractory_s": 0.0} | changes)
    detector = Detector(model.card, {"yes": trigger})
    posteriors = np.array([[value, 0.0, 1 - value] for value in yes], np.float32)
    return detector.push(posteriors, 0) + detector.close(len(yes) * HOP)


def phases(detections: list[Detection]) -> list[tuple[str, int]]:
    return [(d.phase, d.position // HOP) for d in detections]


def test_a_label_starts_at_the_threshold_and_ends_below_the_release(tiny_audio: Model) -> None:
    found = detect(tiny_audio, [0.1, 0.4, 0.7, 0.5, 0.4, 0.2, 0.1])
    assert phases(found) == [("start", 3), ("end", 6)]


def test_between_the_thresholds_nothing_changes(tiny_audio: Model) -> None:
    assert detect(tiny_audio, [0.5, 0.55, 0.35, 0.59]) == []


def test_start_and_end_share_an_id_and_an_onset(tiny_audio: Model) -> None:
    start, end = detect(tiny_audio, [0.1, 0.4, 0.5, 0.9, 0.1])
    assert (start.id, start.onset) == (end.id, end.onset) == (0, 1 * HOP)
    assert (start.label, end.confidence) == ("yes", pytest.approx(0.9))


def test_a_label_rests_after_it_ended(tiny_audio: Model) -> None:
    twice = [0.9, 0.1, 0.9, 0.1]
    assert len(detect(tiny_audio, twice)) == 4
    assert len(detect(tiny_audio, twice, refractory_s=0.1)) == 2
    assert len(detect(tiny_audio, [0.9, *[0.1] * 6, 0.9], refractory_s=0.1)) == 4


def test_smoothing_ignores_a_single_frame(tiny_audio: Model) -> None:
    assert detect(tiny_audio, [0, 0, 1, 0, 0], smoothing_s=0.1) == []
    assert phases(detect(tiny_audio, [0] * 3 + [1] * 10, smoothing_s=0.1))[0] == ("start", 8)


def test_what_is_active_ends_with_the_stream(tiny_audio: Model) -> None:
    assert phases(detect(tiny_audio, [0.9, 0.9])) == [("start", 1), ("end", 2)]


def test_two_labels_are_decided_apart(tiny_audio: Model) -> None:
    trigger = Trigger(0.4, 0.3, 0.0, 0.0)
    detector = Detector(tiny_audio.card, {"yes": trigger, "no": trigger}, first_id=7)
    found = detector.push(np.array([[0.5, 0.45, 0.05], [0.1, 0.8, 0.1]], np.float32), 0)
    assert [(d.label, d.phase, d.id) for d in found] == [("yes", "start", 7), ("no", "start", 8), ("yes", "end", 7)]
    assert detector.next_id == 9


@given(st.lists(st.floats(0, 1, width=32), max_size=60), st.data())
def test_the_cutting_changes_no_decision(tiny_audio: Model, yes: list[float], data: st.DataObject) -> None:
    trigger = Trigger(0.6, 0.3, 0.05, 0.05)
    posteriors = np.array([[value, 1 - value, 0.0] for value in yes], np.float32).reshape(-1, 3)
    whole = Detector(tiny_audio.card, {"yes": trigger, "no": trigger})
    cut = Detector(tiny_audio.card, {"yes": trigger, "no": trigger})
    at, found = 0, []
    while at < len(yes):
        step = data.draw(st.integers(1, 10))
        found += cut.push(posteriors[at : at + step], at * HOP)
        at += step
    assert found == whole.push(posteriors, 0)
