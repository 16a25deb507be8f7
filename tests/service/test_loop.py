"""The loop, driven with arrays: what is published, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from threading import Event

import numpy as np
import pytest

from otolith.errors import SourceError
from otolith.inference.model import Model
from otolith.service.company import Company
from otolith.service.listener import Listener
from otolith.service.loop import Loop, MakeListener
from otolith.sources.source import Block
from otolith.wire.messages import GapMessage, Message, PosteriorsMessage, StatusMessage
from otolith.wire.scribe import Scribe


class Blocks:
    """A source that yields what it was given, then ends, fails or waits."""

    live = False
    rate = 16000.0

    def __init__(self, lengths: list[int], ending: str = "end") -> None:
        self._lengths, self._ending = lengths, ending

    def blocks(self, stop: Event) -> Iterator[Block]:
        rng = np.random.default_rng(0)
        for length in self._lengths:
            yield Block(rng.uniform(-1, 1, length).astype(np.float32), time.time_ns())
        if self._ending == "fail":
            raise SourceError("the cable is out")
        if self._ending == "bug":
            raise ZeroDivisionError
        if self._ending == "wait":
            stop.wait()


class Kept:
    """A sink that keeps what it takes."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def take(self, message: Message) -> None:
        self.messages.append(message)

    def close(self) -> None:
        pass


def make_listener(company: Company, model: Model, name: str) -> MakeListener:
    return lambda: Listener(company.join(model), 16000, Scribe("b", name, model))


def loop_over(sources: list[Blocks], model: Model) -> tuple[Loop, Kept]:
    kept, company = Kept(), Company()
    loop = Loop(company, [kept])
    for number, source in enumerate(sources):
        loop.listen(f"s{number}", source, make_listener(company, model, f"s{number}"))
    return loop, kept


def frames_of(messages: list[Message], stream: str) -> int:
    return sum(m.frames for m in messages if isinstance(m, PosteriorsMessage) and m.stream == stream)


def values_of(messages: list[Message], stream: str) -> np.ndarray:
    return np.concatenate([m.array() for m in messages if isinstance(m, PosteriorsMessage) and m.stream == stream])


def test_it_ends_when_every_source_has_with_all_published(tiny_audio: Model) -> None:
    loop, kept = loop_over([Blocks([1000, 7, 5000]), Blocks([320])], tiny_audio)
    loop.run()
    assert frames_of(kept.messages, "s0") == 6007 // 320
    assert frames_of(kept.messages, "s1") == 1
    assert [m.lost for m in kept.messages if isinstance(m, GapMessage)] == [6007 % 320]
    last = [m for m in kept.messages if isinstance(m, StatusMessage)][-2:]
    assert {(m.stream, m.frames, m.lost) for m in last} == {("s0", 18, 247), ("s1", 1, 0)}


def test_a_source_that_fails_ends_the_daemon_behind_its_last_words(tiny_audio: Model) -> None:
    loop, kept = loop_over([Blocks([3200], "fail"), Blocks([320], "wait")], tiny_audio)
    with pytest.raises(SourceError, match="stream 's0': the cable is out"):
        loop.run()
    assert frames_of(kept.messages, "s0") == 10
    assert isinstance(kept.messages[-1], StatusMessage)


def test_a_bug_in_a_source_keeps_its_traceback(tiny_audio: Model) -> None:
    loop, _ = loop_over([Blocks([320], "bug")], tiny_audio)
    with pytest.raises(ZeroDivisionError):
        loop.run()


def test_stop_ends_it_soon(tiny_audio: Model) -> None:
    loop, kept = loop_over([Blocks([3200], "wait")], tiny_audio)
    threading.Timer(0.3, loop.stop).start()
    started = time.monotonic()
    loop.run()
    assert time.monotonic() - started < 0.9
    assert frames_of(kept.messages, "s0") == 10


def test_a_heartbeat_comes_every_second(tiny_audio: Model) -> None:
    loop, kept = loop_over([Blocks([320], "wait")], tiny_audio)
    threading.Timer(2.3, loop.stop).start()
    loop.run()
    uptimes = [m.uptime_s for m in kept.messages if isinstance(m, StatusMessage)]
    assert len(uptimes) == 3
    np.testing.assert_allclose(uptimes[:2], [1, 2], atol=0.2)


def test_streams_come_and_go_while_it_runs(tiny_audio: Model) -> None:
    kept, company = Kept(), Company()
    loop = Loop(company, [kept])

    def bring(_stop: Event) -> None:
        for number in range(3):
            shelf = loop.add(f"guest{number}", make_listener(company, tiny_audio, f"guest{number}"), 16000, live=False)
            for _ in range(2):
                loop.put(shelf, Block(np.zeros(1000, np.int16), time.time_ns()))
            loop.remove(shelf)

    loop.attend("the door", bring)
    loop.run()
    for number in range(3):
        mine = [m for m in kept.messages if m.stream == f"guest{number}"]
        assert frames_of(mine, f"guest{number}") == 6
        assert [m.lost for m in mine if isinstance(m, GapMessage)] == [80]
        assert isinstance(mine[-1], StatusMessage)
        assert (mine[-1].frames, mine[-1].lost) == (6, 80)


def test_a_stream_that_is_gone_has_no_heartbeat_and_its_row_is_free(tiny_audio: Model) -> None:
    kept, company = Kept(), Company()
    loop = Loop(company, [kept])
    loop.listen("stays", Blocks([320], "wait"), make_listener(company, tiny_audio, "stays"))
    loop.listen("goes", Blocks([320]), make_listener(company, tiny_audio, "goes"))
    threading.Timer(1.5, loop.stop).start()
    loop.run()
    assert sum(isinstance(m, StatusMessage) for m in kept.messages if m.stream == "goes") == 1
    assert sum(isinstance(m, StatusMessage) for m in kept.messages if m.stream == "stays") == 2


def test_work_beside_it_that_fails_ends_it_with_its_name(tiny_audio: Model) -> None:
    def fail(_stop: Event) -> None:
        raise SourceError("the port is taken")

    loop, kept = loop_over([Blocks([3200], "wait")], tiny_audio)
    loop.attend("the door", fail)
    with pytest.raises(SourceError, match="the door: the port is taken"):
        loop.run()
    assert isinstance(kept.messages[-1], StatusMessage)


def test_law_2_what_is_published_of_a_stream_does_not_depend_on_its_company(tiny_audio: Model) -> None:
    lengths = [[640, 90, 3200, 1000], [16000], [1] * 50 + [4000], [320] * 20]
    together, kept = loop_over([Blocks(each) for each in lengths], tiny_audio)
    together.run()
    for number, each in enumerate(lengths):
        alone, heard = loop_over([Blocks(each)], tiny_audio)
        alone.run()
        np.testing.assert_allclose(values_of(kept.messages, f"s{number}"), values_of(heard.messages, "s0"), atol=1e-5)
