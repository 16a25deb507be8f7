"""Utterances: where silence ends one, and what is told of it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otolith.inference.engine import Engine
from otolith.inference.events import Detection, Event, Gap, Posteriors
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.inference.utterance import ENDED, Endpointer, verdict
from tests.tiny import write_tiny

HOP = 320
RNG = np.random.default_rng(0)
LOUD, QUIET = RNG.uniform(-0.5, 0.5, 3200), RNG.uniform(-1e-3, 1e-3, 6400)  # 0.2 s, 0.4 s
SPOKEN = np.concatenate((QUIET, LOUD, QUIET, QUIET, LOUD, LOUD, QUIET, LOUD)).astype(np.float32)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A tiny model that classifies tokens."""
    return Model.open(write_tiny(tmp_path_factory.mktemp("models") / "sentences.onnx", "token", "classify"))


def ends_in(blocks: list[np.ndarray[tuple[int], np.dtype[np.float32]]]) -> list[int]:
    """Samples before each utterance's end."""
    endpointer, ends, at = Endpointer(HOP, 16000, 0.3, -30.0), [], 0
    for block in blocks:
        *ended, _ = endpointer.cut(block)
        ends += (at + np.cumsum([len(piece) for piece in ended])).tolist()
        at += len(block)
    return ends


def test_silence_behind_sound_ends_an_utterance_and_silence_before_it_does_not() -> None:
    assert ends_in([SPOKEN]) == [9600 + 4800, 9600 + 12800 + 6400 + 4800]


@given(cuts=st.lists(st.integers(0, len(SPOKEN)), max_size=30))
def test_law_1_chunking_utterances_end_where_they_do_however_the_sound_is_cut(cuts: list[int]) -> None:
    assert ends_in([SPOKEN[a:b] for a, b in pairwise([0, *sorted(cuts), len(SPOKEN)])]) == ends_in([SPOKEN])


def test_sound_that_is_no_number_begins_it_all_afresh() -> None:
    broken = SPOKEN.copy()
    broken[9000] = np.nan
    assert ends_in([broken[:9600], SPOKEN[9600:14720]]) == []


def told(events: list[Event]) -> list[object]:
    return [
        (e.id, e.label, e.phase, e.position, e.onset, round(e.confidence, 4)) if isinstance(e, Detection) else e
        for e in events
        if not isinstance(e, Posteriors)
    ]


def test_an_utterance_ends_with_its_last_opinion_and_the_stream_starts_afresh(sentences: Model) -> None:
    stream, ids = Stream(sentences), np.array([1, 2, 4])
    [opinions, *_] = stream.push(ids)
    assert isinstance(opinions, Posteriors)
    start, end, gap = stream.end_utterance()
    label = sentences.card.labels[int(opinions.values[-1].argmax())]
    assert isinstance(start, Detection)
    assert isinstance(end, Detection)
    assert (start.label, start.phase, start.position, start.onset, start.id) == (label, "start", 3, 0, 0)
    assert (end.label, end.phase, end.id) == (label, "end", 0)
    assert start.confidence == pytest.approx(float(opinions.values[-1].max()))
    assert gap == Gap(3, 0, ENDED)
    [again, *_] = stream.push(ids)
    assert isinstance(again, Posteriors)
    np.testing.assert_array_equal(again.values, opinions.values)
    assert again.position == 3
    assert [e.id for e in stream.close() if isinstance(e, Detection)] == [1, 1]


def test_an_empty_utterance_tells_nothing(sentences: Model) -> None:
    assert Stream(sentences).end_utterance() == Stream(sentences).close() == []


def test_an_utterance_that_was_broken_by_a_gap_has_no_verdict(sentences: Model) -> None:
    stream = Stream(sentences)
    stream.push(np.array([1, 2]))
    assert told(stream.gap(5, "lost on the way")) == [Gap(2, 5, "lost on the way")]
    assert stream.end_utterance() == []


def test_the_background_is_no_verdict(sentences: Model, tmp_path: Path) -> None:
    audio = Model.open(write_tiny(tmp_path / "sound.onnx", "audio", "classify"))
    assert verdict(audio.card, np.array([0.1, 0.2, 0.7], np.float32), 320, 0) == []


@given(data=st.data())
def test_law_2_a_seat_tells_of_utterances_what_a_stream_tells(sentences: Model, data: st.DataObject) -> None:
    engine = Engine(sentences, frames_per_step=2, largest_batch=2)
    pairs = [(engine.add(), Stream(sentences)) for _ in range(3)]
    found: list[list[Event]] = [[], [], []]
    expected: list[list[Event]] = [[], [], []]
    seats = {pair[0]: number for number, pair in enumerate(pairs)}
    for _ in range(12):
        number = data.draw(st.integers(0, 2))
        seat, stream = pairs[number]
        ids = np.array(data.draw(st.lists(st.integers(-1, 5), max_size=5)), np.int64)  # -1 and 5 are no tokens
        found[number] += seat.push(ids)
        expected[number] += stream.push(ids)
        if data.draw(st.booleans()):
            found[number] += seat.end_utterance()
            expected[number] += stream.end_utterance()
        if data.draw(st.booleans()):
            for stepped, events in engine.step():
                found[seats[stepped]] += events
    for number, (seat, stream) in enumerate(pairs):
        found[number] += seat.close()
        expected[number] += stream.close()
        assert told(found[number]) == told(expected[number])
        values = [[e.values for e in of[number] if isinstance(e, Posteriors)] for of in (found, expected)]
        if values[1]:
            np.testing.assert_allclose(np.concatenate(values[0]), np.concatenate(values[1]), atol=1e-5)
