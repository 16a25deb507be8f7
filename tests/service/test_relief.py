"""A relief: behind the hand-over it says what it would have said alone, and nothing is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from otolith.inference.engine import Engine, Seat
from otolith.inference.events import Posteriors
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.service.listener import Listener
from otolith.service.relief import CHANGED, Relief
from otolith.sources.source import Block
from otolith.wire.messages import DetectionMessage, GapMessage, Message, PosteriorsMessage
from otolith.wire.scribe import Scribe
from tests.tiny import write_tiny

HOP = 320


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.open(write_tiny(tmp_path_factory.mktemp("models") / "other.onnx", "audio", seed=1))


def posteriors_of(model: Model, sound: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([told.values for told in Stream(model).push(sound) if isinstance(told, Posteriors)])


def hear(engine: Engine, listener: Listener) -> list[Message]:
    return [message for seat, events in engine.step() if seat is listener.stream for message in listener.hear(events)]


def play(
    old: Model, new: Model, sound: NDArray[np.float32], blocks: list[int], at: int
) -> tuple[list[Message], int, int]:
    """Messages of a listener that gets a relief behind block `at`; where that began to hear, and where it took over."""
    engines = Engine(old), Engine(new)
    listener = Listener(engines[0].add(), 16000, Scribe("b", "s", old))
    messages: list[Message] = []
    heard_from = taken_over = -1
    start = 0
    for number, length in enumerate(blocks):
        messages += listener.take(Block(sound[start : start + length], start))
        start += length
        messages += [m for engine in engines for m in hear(engine, listener)]
        if number == at:
            listener.relief = Relief(listener.stream, engines[1].add(), Scribe("b", "s", new))
            heard_from = listener.stream.position
        if listener.relief is not None and listener.relief.is_ready:
            taken_over = listener.stream.position
            messages += listener.give_way()
    return messages + listener.close(), heard_from, taken_over


@settings(max_examples=30, deadline=None)
@given(blocks=st.lists(st.integers(1, 2000), min_size=40, max_size=60), at=st.integers(0, 10))
def test_nothing_is_lost_or_doubled_and_each_says_what_it_would_alone(
    blocks: list[int], at: int, sound: NDArray[np.float32], tiny_audio: Model, other: Model
) -> None:
    blocks += [1600] * 14
    messages, heard_from, taken_over = play(tiny_audio, other, sound, blocks, at)
    told = [m for m in messages if isinstance(m, PosteriorsMessage)]
    assert [m.seq for m in told] == list(range(len(told)))
    values = np.concatenate([m.array() for m in told])
    whole = sum(blocks) // HOP
    assert len(values) == whole
    assert taken_over >= heard_from + 16000
    boundary = taken_over // HOP
    np.testing.assert_allclose(values[:boundary], posteriors_of(tiny_audio, sound[:taken_over]), atol=1e-5)
    alone = posteriors_of(other, sound[heard_from : whole * HOP])
    np.testing.assert_allclose(values[boundary:], alone[(taken_over - heard_from) // HOP :], atol=1e-5)
    assert told[-1].position == whole * HOP
    assert {m.model for m in told} == {tiny_audio.identity, other.identity}
    assert [m for m in messages if isinstance(m, GapMessage) and m.lost >= HOP] == []


def test_a_gap_ends_the_warming_up_since_nothing_is_left_to_be_warmed_by(
    sound: NDArray[np.float32], tiny_audio: Model, other: Model
) -> None:
    engines = Engine(tiny_audio), Engine(other)
    listener = Listener(engines[0].add(), 16000, Scribe("b", "s", tiny_audio))
    listener.take(Block(sound[:1600], 0))
    engines[0].step()
    relief = listener.relief = Relief(listener.stream, engines[1].add(), Scribe("b", "s", other))
    assert not relief.is_ready
    listener.take(Block(sound[1600:1600], 0, 800, "unplugged"))
    assert relief.is_ready
    listener.give_way()
    assert listener.stream.model is other
    assert (listener.vitals.gaps, listener.stream.position) == (1, 0)


def test_a_model_with_other_frames_begins_afresh_behind_a_gap_of_nothing(
    sound: NDArray[np.float32], tiny_audio: Model, words: Model, tmp_path: Path
) -> None:
    del tmp_path
    engines = Engine(tiny_audio), Engine(words)
    listener = Listener(engines[0].add(), 8000, Scribe("b", "s", tiny_audio))
    listener.take(Block(sound[:1600], 0))
    engines[0].step()
    relief = Relief(listener.stream, engines[1].add(), Scribe("b", "s", words))
    relief.is_alike = False
    listener.relief = relief
    assert relief.is_ready
    (gap, *_) = [m for m in listener.give_way() if isinstance(m, GapMessage)]
    assert (gap.lost < HOP, gap.reason) == (True, CHANGED)
    assert isinstance(listener.stream, Seat)
    assert listener.stream.model is words


def test_with_the_end_of_an_utterance_a_relief_takes_over_and_tells_the_next(tmp_path: Path) -> None:
    old, new = (Model.open(write_tiny(tmp_path / f"{seed}.onnx", "token", "classify", seed=seed)) for seed in (0, 1))
    engines = Engine(old), Engine(new)
    listener = Listener(engines[0].add(), 1, Scribe("b", "s", old))
    line = np.array([1, 2, 4], np.int64)
    messages = listener.take(Block(line, 1))
    listener.relief = Relief(listener.stream, engines[1].add(), Scribe("b", "s", new))
    messages += listener.take(Block(line, 2, ends=True))
    assert listener.relief.is_ready
    messages += listener.give_way()
    messages += listener.take(Block(line, 3, ends=True))
    told = [(m.id, m.model, m.position) for m in messages if isinstance(m, DetectionMessage) and m.phase == "start"]
    assert told == [(0, old.identity, 6), (1, new.identity, 3)]
    assert sum(m.lost for m in messages if isinstance(m, GapMessage)) == 0
