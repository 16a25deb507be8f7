"""Law 6's other half: what is put away and taken up again, in whatever process, goes on as if nothing had been."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from otolith.inference.engine import Engine, Seat
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.service.keeping.checkpoint import collect, decode, encode, spread
from otolith.service.keeping.resumption import STATE_KEPT, Resumption
from otolith.service.listener import Listener
from otolith.sources.network.returns import RESTARTED
from otolith.sources.source import Block
from otolith.wire.messages import (
    AnomalyMessage,
    DetectionMessage,
    ForecastMessage,
    GapMessage,
    Message,
    PosteriorsMessage,
)
from otolith.wire.scribe import Scribe
from tests.tiny import HOP_LENGTH, SENSOR_CHANNELS, TOKENS, write_tiny
from tests.training.small_forecast import forecasting, rhythm

Samples = NDArray[Any]
SECOND_NS = 10**9
KINDS = ["words", "gru", "lstm", "rnn", "spectrum", "sensor", "token", "classify", "sentences", "forecast"]


@dataclass
class Kind:
    """A model, what it is given to hear, and at which rate."""

    model: Model
    samples: Samples
    rate: float
    found: list[Message] = field(default_factory=list)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sound: NDArray[np.float32]) -> Kind:
    from tests.laws.conftest import exported

    folder, rng = tmp_path_factory.mktemp("kinds"), np.random.default_rng(0)
    noise = rng.integers(-16000, 16000, 60 * HOP_LENGTH + 77).astype(np.int16)
    noise[20 * HOP_LENGTH : 40 * HOP_LENGTH] = 0
    match request.param:
        case "words":
            return Kind(request.getfixturevalue("words"), (sound[:24000] * 32767).astype(np.int16), 16000)
        case "gru":
            return Kind(request.getfixturevalue("tiny_audio"), noise, 16000)
        case "lstm" | "rnn" | "spectrum":
            return Kind(exported(request.param, folder), noise, 16000)
        case "classify":
            return Kind(Model.open(write_tiny(folder / "spoken.onnx", "audio", "classify")), noise, 16000)
        case "sensor":
            rows = rng.standard_normal((300, len(SENSOR_CHANNELS))).astype(np.float32)
            return Kind(request.getfixturevalue("tiny_sensor"), rows, 100)
        case "forecast":
            rows = rhythm(300)
            rows[120:130] += 40
            model = forecasting(folder / "f.onnx", threshold=0.15)
            return Kind(model, rows, model.card.sample_rate)
        case _:
            task = "classify" if request.param == "sentences" else "tag"
            tokens = rng.integers(0, len(TOKENS.vocabulary), 200)
            return Kind(Model.open(write_tiny(folder / "tokens.onnx", "token", task)), tokens, 1)


class Run:
    """One run of a daemon over one stream: a seat in an engine, in company, stepped now and then."""

    def __init__(self, model: Model, rate: float, posteriors_per_s: float = 9) -> None:
        self._engine = Engine(model, frames_per_step=3, largest_batch=2, looks_at_levels=model.card.kind == "audio")
        self._engine.add()
        self.listener = Listener(self._engine.add(), rate, Scribe("b", "s", model, posteriors_per_s=posteriors_per_s))
        self.messages: list[Message] = []
        self._posteriors_per_s = posteriors_per_s

    def hear(self, blocks: list[Block], steps: int = 2) -> None:
        for number, block in enumerate(blocks):
            self.messages += self.listener.take(block)
            if number % steps == 0:
                self.step(all_waiting=number % 3 == 0)

    def step(self, *, all_waiting: bool) -> None:
        for _, events in self._engine.step(all_waiting=all_waiting):
            self.messages += self.listener.hear(events)

    def followed_by(self, rate: float, within_s: float = 1e9) -> Run:
        """The next run, which knows this one from the bytes of a file alone."""
        kept = spread(decode(encode(collect([("s", self.listener)]))))["s"]
        run = Run(self.listener.stream.model, rate, self._posteriors_per_s)
        run.messages += run.listener.resume(kept, Resumption(kept.ear.told_ns, kept.ear.source_rate, within_s))
        return run

    def close(self) -> list[Message]:
        self.step(all_waiting=True)
        return self.messages + self.listener.close()


def blocks_of(samples: Samples, cuts: list[int], rate: float) -> list[Block]:
    edges = [0, *sorted(cuts), len(samples)]
    return [Block(samples[a:b], SECOND_NS + round(b / rate * SECOND_NS)) for a, b in pairwise(edges)]


def values_of(messages: list[Message]) -> Samples:
    told = [m for m in messages if isinstance(m, PosteriorsMessage | ForecastMessage)]
    return np.concatenate([m.array() for m in told]) if told else np.empty(0)


def others_of(messages: list[Message]) -> list[tuple[object, ...]]:
    """Everything else, but for when it was told."""
    told: list[tuple[object, ...]] = []
    for m in messages:
        match m:
            case DetectionMessage():
                told.append((m.id, m.label, m.phase, m.position, m.onset_ns, round(m.confidence, 3)))
            case AnomalyMessage():
                told.append((m.id, m.phase, m.position, m.onset_ns, round(m.score, 3)))
            case GapMessage():
                told.append((m.lost, m.reason, m.position))
    return told


def assert_same(found: list[Message], expected: list[Message]) -> None:
    np.testing.assert_allclose(values_of(found), values_of(expected), rtol=1e-5, atol=1e-5)
    assert others_of(found) == others_of(expected)


@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_a_stream_that_lost_nothing_goes_on_as_if_it_had_never_been_stopped(kind: Kind, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(kind.samples)), max_size=30))
    blocks = [block for block in blocks_of(kind.samples, cuts, kind.rate) if len(block.samples)]
    expected = Run(kind.model, kind.rate)
    expected.hear(blocks)
    run = Run(kind.model, kind.rate)
    start = 0
    for stop in sorted(data.draw(st.lists(st.integers(0, len(blocks)), min_size=1, max_size=3))):
        run.hear(blocks[start:stop], data.draw(st.integers(1, 5)))
        if stop:
            following = run.followed_by(kind.rate)
            following.messages = run.messages + following.messages
            run = following
        start = stop
    run.hear(blocks[start:])
    assert_same(run.close(), expected.close())


@given(rate=st.sampled_from([8000, 22050, 44100, 48000]), stop=st.integers(1, 40), length=st.integers(100, 3000))
@settings(max_examples=20, deadline=None)
def test_a_resampled_stream_goes_on_with_what_its_filter_held(
    tiny_audio: Model, rate: int, stop: int, length: int
) -> None:
    samples = np.random.default_rng(1).integers(-16000, 16000, 2 * rate).astype(np.int16)
    blocks = blocks_of(samples, list(range(length, len(samples), length)), rate)
    expected, run = Run(tiny_audio, rate), Run(tiny_audio, rate)
    expected.hear(blocks)
    run.hear(blocks[:stop])
    following = run.followed_by(rate)
    following.hear(blocks[stop:])
    assert_same(run.messages + following.close(), expected.close())


@given(stop=st.integers(1, 19), whole=st.booleans())
@settings(max_examples=12, deadline=None)
def test_a_seat_goes_on_where_a_stream_alone_stood_and_the_other_way(tiny_audio: Model, stop: int, whole: bool) -> None:
    sound = np.random.default_rng(2).integers(-16000, 16000, 20 * 500).astype(np.int16)
    expected, alone, engine = Stream(tiny_audio), Stream(tiny_audio), Engine(tiny_audio)
    seat = engine.add()
    wanted = expected.push(sound)
    found = alone.push(sound[: stop * 500])
    seat.recall(alone.remember())
    seat.push(sound[stop * 500 : stop * 500 + 900])
    found += [event for _, events in engine.step(all_waiting=whole) for event in events]
    back = Stream(tiny_audio)
    found += back.recall(seat.remember())
    found += back.push(sound[stop * 500 + 900 :])
    values = [np.concatenate([e.values for e in events if hasattr(e, "values")]) for events in (found, wanted)]
    np.testing.assert_allclose(*values, atol=1e-5)


def stopped(model: Model, samples: int) -> tuple[Run, Samples]:
    sound = np.random.default_rng(3).integers(-16000, 16000, samples + 16000).astype(np.int16)
    run = Run(model, 16000, posteriors_per_s=50)
    run.hear(blocks_of(sound[:samples], list(range(800, samples, 800)), 16000))
    run.step(all_waiting=True)
    return run, sound[samples:]


def test_what_was_lost_in_between_is_declared_and_the_state_goes_on(tiny_audio: Model) -> None:
    run, rest = stopped(tiny_audio, 5000)
    following = run.followed_by(16000, within_s=0.5)
    time_ns = SECOND_NS + round((5000 + 4000 + 3200) / 16000 * SECOND_NS)
    following.hear([Block(rest[:3200], time_ns, lost=4000, reason=RESTARTED)], steps=1)
    following.step(all_waiting=True)
    [gap] = [m for m in following.messages if isinstance(m, GapMessage)]
    assert gap.reason == f"{RESTARTED}; {STATE_KEPT}"
    assert (gap.position, gap.lost) == (4800, 200 + 4000)  # those that filled no frame are lost with it
    assert following.listener.began == "resumed: 4000 samples lost"
    assert isinstance(following.listener.stream, Seat)
    assert following.listener.stream.position == 5000 + 4000 + 3200
    known = Stream(tiny_audio)
    known.recall(run.listener.stream.remember())
    known.skip(4000, "")
    [expected] = [event.values for event in known.push(rest[:3200]) if hasattr(event, "values")]
    np.testing.assert_allclose(values_of(following.messages), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("after_s", "lost", "why"),
    [(0.7, 11200, "0.7 s passed, 0.5 are allowed"), (0.7, 0, "0.7 s passed"), (-2.0, 0, "the clock was set back by")],
)
def test_a_stream_whose_input_came_too_late_starts_afresh_behind_a_gap(
    tiny_audio: Model, after_s: float, lost: int, why: str
) -> None:
    run, rest = stopped(tiny_audio, 5000)
    following = run.followed_by(16000, within_s=0.5)
    time_ns = SECOND_NS + round((5000 / 16000 + after_s + 0.2) * SECOND_NS)
    following.hear([Block(rest[:3200], time_ns, lost, RESTARTED if lost else "")])
    found = following.close()
    assert following.listener.began.startswith(f"fresh: {why}")
    [gap, *_] = [m for m in found if isinstance(m, GapMessage)]
    assert (gap.position, gap.lost, gap.reason) == (4800, 200 + lost, RESTARTED)
    behind = [m for m in found if isinstance(m, PosteriorsMessage) and m.position <= 3200]
    alone = [event.values for event in Stream(tiny_audio).push(rest[:3200]) if hasattr(event, "values")]
    np.testing.assert_allclose(values_of(behind), np.concatenate(alone), atol=1e-5)
    ids = [(m.id, m.phase) for m in run.messages + found if isinstance(m, DetectionMessage)]
    assert len(ids) == len(set(ids))
    assert {number for number, phase in ids if phase == "start"} == {number for number, phase in ids if phase == "end"}


@pytest.mark.parametrize("told", [-100, 0, 300])
def test_behind_a_dead_worker_the_position_goes_on_from_what_it_had_told(tiny_audio: Model, told: int) -> None:
    """The checkpoint stands at 5,000 samples; the worker had told of `told` more, and 800 were lost behind that."""
    run, rest = stopped(tiny_audio, 5000)
    kept = spread(decode(encode(collect([("s", run.listener)]))))["s"]
    following = Run(tiny_audio, 16000, posteriors_per_s=50)
    following.listener.resume(kept, Resumption(kept.ear.told_ns, 16000.0, 1.0, "", True), told=told)
    time_ns = SECOND_NS + round((5000 + told + 800 + 3200) / 16000 * SECOND_NS)
    following.hear([Block(rest[:3200], time_ns, lost=800, reason="the worker died")], steps=1)
    following.step(all_waiting=True)
    [gap] = [m for m in following.messages if isinstance(m, GapMessage)]
    assert (gap.position, gap.lost) == (5000 + told, 800)
    assert gap.reason == f"the worker died; {STATE_KEPT}"
    last = [m for m in following.messages if isinstance(m, PosteriorsMessage)][-1]
    assert (last.position, last.time_ns) == (5000 + told + 800 + 3200, time_ns)
