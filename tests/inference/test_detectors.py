"""Detectors as one: they decide what each would decide alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from otolith.inference.card import Trigger
from otolith.inference.detector import Detector
from otolith.inference.detectors import Detectors
from otolith.inference.events import Detection
from otolith.inference.model import Model

HOP = 320
TRIGGERS = [
    {"yes": Trigger(0.6, 0.3, 0.05, 0.05), "no": Trigger(0.5, 0.5, 0.0, 0.0)},
    {"no": Trigger(0.4, 0.0, 0.1, 0.1)},
    {"yes": Trigger(0.7, 0.2, 0.0, 0.04), "_background_": Trigger(0.9, 0.8, 0.02, 0.0)},
    {},
]


@given(seed=st.integers(0, 10**6), steps=st.lists(st.integers(1, 5), max_size=20), alike=st.floats(0, 0.99))
@settings(deadline=None)
def test_many_as_one_decide_as_each_alone(tiny_audio: Model, seed: int, steps: list[int], alike: float) -> None:
    rng = np.random.default_rng(seed)
    alone = [Detector(tiny_audio.card, triggers) for triggers in TRIGGERS]
    company = [Detector(tiny_audio.card, triggers) for triggers in TRIGGERS]
    together = Detectors(3)
    together.grow(len(TRIGGERS))
    for row, detector in enumerate(company):
        together.begin(row, detector)
    positions = [0] * len(TRIGGERS)
    level = rng.random(3)
    for frames in steps:
        rows = np.flatnonzero(rng.random(len(TRIGGERS)) < 0.7)
        level = alike * level + (1 - alike) * rng.random(3)  # so that labels stay up for a while
        posteriors = np.clip(level + rng.normal(0, 0.1, (len(rows), frames, 3)), 0, 1).astype(np.float32)
        at = [positions[row] for row in rows]
        found = together.push(rows, [company[row] for row in rows], posteriors, at)
        expected: dict[int, list[Detection]] = {}
        for place, row in enumerate(rows):
            if told := alone[row].push(posteriors[place], at[place]):
                expected[place] = told
            positions[row] += frames * HOP
        assert found == expected
    for row, detector in enumerate(company):
        together.settle(row, detector)
        assert detector.close(positions[row]) == alone[row].close(positions[row])
