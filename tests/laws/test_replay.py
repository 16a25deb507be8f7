"""The law of the flight recorder: what was recorded, heard again, says what was published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from otolith.inference.model import Model
from otolith.service.company import Company
from otolith.service.listener import Listener
from otolith.service.loop import Loop
from otolith.service.recording.replay import Stretch, read_stretches, read_told, replay
from otolith.service.recording.taping import Taping
from otolith.service.recording.verify import compare
from otolith.settings import RecorderSettings
from otolith.sinks.recorder import Disk, Recorder
from otolith.sources.source import Block
from otolith.wire.messages import AnyMessage, DetectionMessage, Message, PosteriorsMessage
from otolith.wire.scribe import Scribe
from tests.laws.test_resumption import Kind, blocks_of, kind  # noqa: F401 - a fixture

SLOW = [HealthCheck.function_scoped_fixture]


@dataclass
class Blocks:
    """A source that yields what it was given, and ends."""

    given: list[Block]
    rate: float
    live = False

    def blocks(self, stop: Event) -> Iterator[Block]:
        yield from (block for block in self.given if not stop.is_set())


class Kept:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def take(self, message: Message) -> None:
        self.messages.append(message)

    def close(self) -> None:
        pass


def record(folder: Path, model: Model, rate: float, blocks: list[Block], segment_s: float) -> list[Message]:
    """Run a loop over the blocks, with a recorder; what was published."""
    wanted = RecorderSettings(folder=str(folder), segment_s=segment_s, minutes=1e6, days=36_500)
    company, kept = Company(), Kept()
    ailing: list[str] = []
    recorder = Recorder(wanted, Disk(ailing.append))
    loop = Loop(company, [kept, recorder])
    loop.taping = Taping(recorder, wanted, "boot", dict)
    scribe = Scribe("boot", "s", model, posteriors_per_s=12.0)
    loop.listen("s", Blocks(blocks, rate), lambda: Listener(company.join(model), rate, scribe))
    loop.run()
    recorder._thread.join(20)
    assert not ailing
    return kept.messages


def own(messages: list[AnyMessage] | list[Message]) -> list[Message]:
    return [message for message in messages if message.stream == "s"]


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    """A new folder at each call."""
    return (tmp_path / str(number) for number in range(1_000_000))  # type: ignore[return-value]


@given(data=st.data())
@settings(max_examples=8, deadline=None, suppress_health_check=SLOW)
def test_a_recording_of_any_kind_says_again_what_was_published(
    kind: Kind,  # noqa: F811
    folders: Iterator[Path],
    data: st.DataObject,
) -> None:
    length, folder = len(kind.samples), next(folders)
    cuts = data.draw(st.lists(st.integers(0, length), min_size=3, max_size=25))
    fates = data.draw(st.lists(st.sampled_from(["", "", "", "lost", "ends", "away"]), min_size=30, max_size=30))
    blocks = [fated(block, fate) for block, fate in zip(blocks_of(kind.samples, cuts, kind.rate), fates, strict=False)]
    segment_s = data.draw(st.floats(0.05, 0.6)) * length / kind.rate
    published = record(folder, kind.model, kind.rate, blocks, segment_s)
    [stretch] = read_stretches(folder)
    told = read_told(stretch)
    assert [(type(m), m.seq) for m in told] == [(type(m), m.seq) for m in own(published)]
    verdict = compare(told, replay(stretch, model=kind.model), is_whole=True)
    assert not verdict.difference
    assert stretch.how == "ended"


def fated(block: Block, fate: str) -> Block:
    match fate:
        case "lost":
            return replace(block, lost=700, reason="on the way")
        case "ends":
            return replace(block, ends=True)
        case "away":
            return replace(block, samples=block.samples[:0], reason="unplugged", lost=len(block.samples))
    return block


@given(start=st.integers(1, 4), rate=st.sampled_from([16000, 44100, 48000]))
@settings(max_examples=8, deadline=None, suppress_health_check=SLOW)
def test_a_recording_whose_first_segments_are_gone_goes_on_from_the_state_of_the_next(
    tiny_audio: Model, folders: Iterator[Path], start: int, rate: int
) -> None:
    folder = next(folders)
    samples = np.random.default_rng(0).integers(-16000, 16000, 2 * rate).astype(np.int16)
    record(folder, tiny_audio, rate, blocks_of(samples, list(range(777, 2 * rate, 777)), rate), 0.3)
    logs = sorted((folder / "s").glob("*.log"))
    for log in logs[:start]:
        log.unlink()
    [stretch] = read_stretches(folder)
    assert len(stretch.segments) == len(logs) - start
    verdict = compare(read_told(stretch), replay(stretch, model=tiny_audio), is_whole=True)
    assert not verdict.difference
    assert verdict.frames > 20


def test_float_and_int16_blocks_may_follow_one_another(tiny_audio: Model, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-16000, 16000, 16000).astype(np.int16)
    blocks = blocks_of(samples, list(range(1000, 16000, 1000)), 16000)
    blocks[5:9] = [replace(b, samples=(b.samples / 30000).astype(np.float32)) for b in blocks[5:9]]
    record(tmp_path, tiny_audio, 16000, blocks, 60.0)
    [stretch] = read_stretches(tmp_path)
    assert [each.opening.dtype for each in stretch.segments] == ["<i2", "<f4", "<i2"]
    assert not compare(read_told(stretch), replay(stretch, model=tiny_audio), is_whole=True).difference


@pytest.fixture
def stretch(tiny_audio: Model, tmp_path: Path) -> Stretch:
    samples = np.random.default_rng(0).integers(-16000, 16000, 32000).astype(np.int16)
    record(tmp_path, tiny_audio, 16000, blocks_of(samples, list(range(1000, 32000, 1000)), 16000), 0.5)
    [stretch] = read_stretches(tmp_path)
    return stretch


def test_what_differs_is_named(stretch: Stretch, tiny_audio: Model) -> None:
    told = read_told(stretch)
    again = list(replay(stretch, model=tiny_audio))
    number = next(i for i, m in enumerate(again) if isinstance(m, DetectionMessage))
    one = again[number]
    assert isinstance(one, DetectionMessage)
    other = [*again[:number], replace(one, confidence=one.confidence + 1e-3), *again[number + 1 :]]
    assert compare(told, other, is_whole=True).difference.startswith(f"event 1 was {one.label} start")
    place = next(i for i, m in enumerate(again) if isinstance(m, PosteriorsMessage))
    changed = again[place]
    assert isinstance(changed, PosteriorsMessage)
    values = changed.array().copy()
    values[0, 0] += 1e-4
    other = [*again[:place], replace(changed, values=values.tobytes()), *again[place + 1 :]]
    assert compare(told, other, is_whole=True).difference.startswith("frame 1 differs by 0.0001")
    assert "were told" in compare(told, again[:-2], is_whole=True).difference
    assert not compare(told, again[:-2], is_whole=False).difference


def test_another_model_says_what_it_would_have_said(stretch: Stretch, words: Model) -> None:
    said = list(replay(stretch, words))
    assert {m.model for m in said} == {words.identity}
    assert sum(m.frames for m in said if isinstance(m, PosteriorsMessage)) == 100
