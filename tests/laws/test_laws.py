"""The laws, as properties of generated cuttings of real sound, on the model that ships and on every other cell."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from otolith.inference.events import Detection, Event, Gap, Posteriors
from otolith.inference.model import Model
from otolith.inference.stream import Stream

HOP = 320
WHOLE = 3 * 16000 // HOP * HOP  # samples: three seconds


def posteriors_of(events: list[Event]) -> NDArray[np.float32]:
    return np.concatenate([e.values for e in events if isinstance(e, Posteriors)])


def pushed_in(model: Model, blocks: list[NDArray[np.float32]]) -> list[Event]:
    stream = Stream(model)
    return [event for block in blocks for event in stream.push(block)]


@st.composite
def cuttings(draw: st.DrawFn, total: int = WHOLE) -> list[int]:
    """Where to cut: any number of places, among them none, single samples and several hops."""
    return sorted(draw(st.lists(st.integers(0, total), max_size=40)))


@pytest.fixture(scope="module")
def whole(model: Model, sound: NDArray[np.float32]) -> list[Event]:
    return pushed_in(model, [sound[:WHOLE]])


@given(cuts=cuttings())
@settings(max_examples=40, deadline=None)
def test_law_1_chunking_any_cutting_gives_the_same_posteriors_and_detections(
    model: Model, sound: NDArray[np.float32], whole: list[Event], cuts: list[int]
) -> None:
    found = pushed_in(model, [sound[a:b] for a, b in pairwise([0, *cuts, WHOLE])])
    np.testing.assert_allclose(posteriors_of(found), posteriors_of(whole), atol=1e-5)
    told = [[(e.label, e.phase, e.position) for e in events if isinstance(e, Detection)] for events in (found, whole)]
    assert told[0] == told[1]


def test_law_1_chunking_sample_by_sample(model: Model, sound: NDArray[np.float32], whole: list[Event]) -> None:
    samples = 10 * HOP
    found = pushed_in(model, [sound[i : i + 1] for i in range(samples)])
    np.testing.assert_allclose(posteriors_of(found), posteriors_of(whole)[:10], atol=1e-5)


@given(change_at=st.integers(0, WHOLE - 1), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_law_3_causality_later_sound_changes_nothing_earlier(
    model: Model, sound: NDArray[np.float32], whole: list[Event], change_at: int, seed: int
) -> None:
    changed = sound[:WHOLE].copy()
    changed[change_at:] = np.random.default_rng(seed).uniform(-1, 1, WHOLE - change_at)
    found = posteriors_of(pushed_in(model, [changed]))
    before = change_at // HOP
    np.testing.assert_allclose(found[:before], posteriors_of(whole)[:before], atol=1e-6)


@given(data=st.data(), cuts=cuttings())
@settings(max_examples=30, deadline=None)
def test_law_5_accounting_every_sample_was_processed_or_is_in_a_gap(
    model: Model, sound: NDArray[np.float32], data: st.DataObject, cuts: list[int]
) -> None:
    stream = Stream(model)
    processed = lost = sent = 0
    for a, b in pairwise([0, *cuts, WHOLE]):
        fate = data.draw(st.sampled_from(["whole", "whole", "whole", "missing", "poisoned"]))
        block = sound[a:b].copy()
        sent += len(block)
        if fate == "poisoned" and len(block):
            block[data.draw(st.integers(0, len(block) - 1))] = np.nan
        events = stream.gap(len(block), "missing") if fate == "missing" else stream.push(block)
        processed += HOP * sum(len(e.values) for e in events if isinstance(e, Posteriors))
        lost += sum(e.lost for e in events if isinstance(e, Gap))
    lost += sum(e.lost for e in stream.close() if isinstance(e, Gap))
    assert processed + lost == sent


@given(gap_at=st.integers(1, WHOLE // 2))
@settings(max_examples=15, deadline=None)
def test_law_6_fresh_start_behind_a_gap_nothing_is_left_of_before(
    model: Model, sound: NDArray[np.float32], gap_at: int
) -> None:
    stream = Stream(model)
    stream.push(sound[:gap_at])
    stream.gap(4000, "unplugged")
    rest = sound[gap_at:WHOLE]
    np.testing.assert_array_equal(posteriors_of(stream.push(rest)), posteriors_of(pushed_in(model, [rest])))
