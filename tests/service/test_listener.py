"""A listener: gaps, resampling and accounts, at rates that are not the model's."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otolith.errors import SettingsError
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.inference.utterance import ENDED
from otolith.service.listener import Listener, check_rate
from otolith.sources.source import Block
from otolith.wire.messages import DetectionMessage, GapMessage, Message, PosteriorsMessage, kind_of
from otolith.wire.scribe import Scribe
from tests.tiny import write_tiny

SECOND_NS = 10**9


def listen(model: Model, rate: int, blocks: list[Block]) -> list[Message]:
    listener = Listener(Stream(model), rate, Scribe("b", "s", model))
    return [message for block in blocks for message in listener.take(block)] + listener.close()


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-8000, 8000, length).astype(np.int16)


@given(
    rate=st.sampled_from([8000, 16000, 44100, 48000]),
    lengths=st.lists(st.integers(0, 5000), min_size=1, max_size=10),
    lost=st.lists(st.integers(0, 5000), min_size=10, max_size=10),
)
@settings(max_examples=40, deadline=None)
def test_law_5_holds_at_any_rate(tiny_audio: Model, rate: int, lengths: list[int], lost: list[int]) -> None:
    blocks = [Block(noise(n), 0, k, "test" if k else "") for n, k in zip(lengths, lost, strict=False)]
    messages = listen(tiny_audio, rate, blocks)
    processed = sum(320 * m.frames for m in messages if isinstance(m, PosteriorsMessage))
    declared = sum(m.lost for m in messages if isinstance(m, GapMessage))
    sent = (sum(lengths) + sum(block.lost for block in blocks)) * 16000 / rate
    assert processed + declared == pytest.approx(sent, abs=2 * len(blocks) + 1)
    if rate == 16000:
        assert processed + declared == sent


def test_times_are_the_sources_own_through_the_resampler(tiny_audio: Model) -> None:
    blocks = [Block(noise(4800, i), (i + 1) * SECOND_NS // 10) for i in range(20)]
    messages = [m for m in listen(tiny_audio, 48000, blocks) if isinstance(m, PosteriorsMessage)]
    for message in messages:
        assert message.time_ns == pytest.approx(message.position / 16000 * SECOND_NS, abs=2e6)


def test_a_lost_block_is_a_gap_and_a_fresh_start(tiny_audio: Model) -> None:
    blocks = [Block(noise(640), SECOND_NS), Block(noise(640), 2 * SECOND_NS, lost=999, reason="unplugged")]
    messages = listen(tiny_audio, 16000, blocks)
    assert [type(m) for m in messages if not hasattr(m, "label")] == [PosteriorsMessage, GapMessage, PosteriorsMessage]
    gap = next(m for m in messages if isinstance(m, GapMessage))
    assert (gap.lost, gap.reason, gap.time_ns, gap.position) == (999, "unplugged", SECOND_NS, 640)


def test_the_level_is_that_of_the_loudest_sample_since_the_last_status(tiny_audio: Model) -> None:
    listener = Listener(Stream(tiny_audio), 16000, Scribe("b", "s", tiny_audio))
    listener.take(Block(np.full(320, -16384, np.int16), 0))
    assert listener.status(1.0, 0.0).level_dbfs == pytest.approx(-6.0, abs=0.1)
    assert listener.status(2.0, 0.0).level_dbfs is None


def test_a_source_that_is_away_is_told_once_as_a_gap_and_in_every_status(tiny_audio: Model) -> None:
    listener = Listener(Stream(tiny_audio), 16000, Scribe("b", "s", tiny_audio))
    listener.take(Block(np.zeros(320, np.int16), 0))
    nothing = np.empty(0, np.int16)
    gaps = [m for m in listener.take(Block(nothing, 1, 0, "unplugged")) if isinstance(m, GapMessage)]
    assert [(m.lost, m.reason) for m in gaps] == [(0, "unplugged")]
    assert listener.take(Block(nothing, 2, 0, "unplugged")) == []
    assert listener.status(1.0, 0.0).state == "unplugged"
    (gap, *_) = listener.take(Block(np.zeros(320, np.int16), 3, 640, "unplugged"))
    assert isinstance(gap, GapMessage)
    assert gap.lost == 640
    assert listener.status(2.0, 0.0).state == "listening"


def test_a_source_that_comes_back_at_another_rate_is_resampled_from_there_on(tiny_audio: Model) -> None:
    listener = Listener(Stream(tiny_audio), 16000, Scribe("b", "s", tiny_audio))
    listener.take(Block(np.zeros(3200, np.int16), 0))
    listener.take(Block(np.zeros(48000, np.int16), 1, 4800, "unplugged", 48000))
    listener.close()
    assert listener.vitals.lost == pytest.approx(1600, abs=320)
    assert listener.vitals.frames == pytest.approx(10 + 50, abs=1)


def test_a_second_of_clipping_and_seconds_of_one_value_are_counted(tiny_audio: Model) -> None:
    listener = Listener(Stream(tiny_audio), 16000, Scribe("b", "s", tiny_audio))
    told = []
    for value in (32767, 0, 0):
        listener.take(Block(np.full(320, value, np.int16), 0))
        told.append(listener.status(1.0, 0.0))
    assert [(m.clipped_s, m.flat_s) for m in told] == [(1, 1), (1, 2), (1, 3)]
    assert told[0].offset == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("rate", "resample"), [(16000, False), (48000, True), (8000, True)])
def test_a_sound_of_any_rate_may_be_resampled(tiny_audio: Model, rate: float, resample: bool) -> None:
    check_rate(tiny_audio.card, rate, resample, "here")


def test_a_rate_that_cannot_serve_is_refused(tiny_audio: Model, tiny_sensor: Model) -> None:
    with pytest.raises(SettingsError, match="source gives 44100 Hz and resample is off; set resample = true"):
        check_rate(tiny_audio.card, 44100, False, "here")
    check_rate(tiny_sensor.card, 104.3, True, "here")
    with pytest.raises(SettingsError, match="source gives 50 Hz"):
        check_rate(tiny_sensor.card, 50, True, "here")


def test_a_line_of_text_ends_with_a_verdict_and_a_fresh_start(tmp_path: Path) -> None:
    model = Model.open(write_tiny(tmp_path / "sentences.onnx", "token", "classify"))
    ids = [np.array(line, np.int64) for line in ([1, 2, 4], [], [3, 4])]
    messages = listen(model, 1, [Block(line, (n + 1) * SECOND_NS, ends=True) for n, line in enumerate(ids)])
    kinds = [m.phase if isinstance(m, DetectionMessage) else kind_of(m) for m in messages]
    assert kinds == ["posteriors", "start", "end", "gap"] * 2
    told = [m for m in messages if isinstance(m, DetectionMessage)]
    assert [(m.id, m.position, m.time_ns // SECOND_NS) for m in told] == [(0, 3, 1), (0, 3, 1), (1, 2, 3), (1, 2, 3)]
    gaps = [m for m in messages if isinstance(m, GapMessage)]
    assert {(gap.lost, gap.reason) for gap in gaps} == {(0, ENDED)}


@given(cuts=st.sets(st.integers(1, 31999), max_size=12), rate=st.sampled_from([16000, 8000]))
@settings(max_examples=20, deadline=None)
def test_silence_ends_utterances_of_sound_however_it_is_cut(spoken: Model, cuts: set[int], rate: int) -> None:
    quiet, loud = noise(8000) // 4000, noise(8000, 1)
    sound = np.concatenate((quiet, loud, quiet, loud))  # half a second each, or one
    blocks = [Block(sound[a:b], b) for a, b in pairwise([0, *sorted(cuts), len(sound)])]
    messages = listen(spoken, rate, blocks)
    gaps = [m for m in messages if isinstance(m, GapMessage) and m.reason == ENDED]
    assert len(gaps) == 1
    assert gaps[0].position / 16000 == pytest.approx(16000 / rate + 0.2, abs=0.03)  # the card's silence_s behind it
    assert sum(m.lost for m in gaps) == 0


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A tiny model that classifies utterances of sound."""
    return Model.open(write_tiny(tmp_path_factory.mktemp("models") / "spoken.onnx", "audio", "classify"))
