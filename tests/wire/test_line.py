"""The line to a worker: where streams belong, and what the ledger makes of their messages."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from otolith import Model, Stream
from otolith.service.listener import Listener
from otolith.sources.source import Block
from otolith.wire.line import Ledger, Standing, worker_of
from otolith.wire.messages import Message
from otolith.wire.scribe import Scribe


def listener_on(model: Model, rate: float, posteriors_per_s: float) -> Listener:
    return Listener(Stream(model), rate, Scribe("d", "kitchen", model, posteriors_per_s=posteriors_per_s))


def standing_after(ledger: Ledger, messages: list[Message]) -> Standing:
    return [Standing.decode(ledger.after(message)) for message in messages][-1]


def test_streams_belong_to_the_same_worker_in_every_run_and_spread_over_all() -> None:
    names = [f"kitchen-{number}".encode() for number in range(400)]
    assert [worker_of(name, 4) for name in names[:5]] == [2, 3, 1, 0, 2]
    assert [worker_of(f"room-{number}".encode(), 2) for number in range(4)] == [1, 1, 0, 0]
    counts = np.bincount([worker_of(name, 4) for name in names], minlength=4)
    assert counts.min() > 70


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize("boot", ["b", "two words", "192.168.1.7|7313", ""])
def test_a_standing_travels(boot: str, is_first: bool) -> None:
    standing = Standing(boot, 1 << 61, is_first)
    assert Standing.decode(standing.encode()) == standing


@pytest.mark.parametrize("posteriors_per_s", [0, 5, 50])
def test_a_stream_stands_where_its_messages_have_told_of_every_sample(
    tiny_audio: Model, sound: NDArray[np.float32], posteriors_per_s: float
) -> None:
    ledger = Ledger()
    ledger.open("kitchen", "b", 1000, tiny_audio.card, 16000, is_quiet=posteriors_per_s == 0)
    listener = listener_on(tiny_audio, 16000, posteriors_per_s)
    messages = listener.take(Block(sound[:7000], 0))
    messages += listener.take(Block(sound[7500:9000], 0, lost=500))
    messages.append(listener.status(1.0, 0.0))
    behind = 1000 + 9000 - standing_after(ledger, messages).seq
    assert 0 <= behind < 320 * (10 if posteriors_per_s == 5 else 1), "a message's frames and a broken one are not told"
    last = [*listener.close(), listener.status(1.0, 0.0)]
    assert standing_after(ledger, last) == Standing("b", 1000 + 9000)


def test_a_resampled_stream_stands_in_its_producers_samples(tiny_audio: Model, sound: NDArray[np.float32]) -> None:
    ledger = Ledger()
    ledger.open("kitchen", "b", 0, tiny_audio.card, 48000, is_quiet=False)
    listener = listener_on(tiny_audio, 48000, 50)
    messages = listener.take(Block(sound[:96000], 0))
    assert 96000 - 48000 * 0.1 < standing_after(ledger, messages).seq < 96000
    assert standing_after(ledger, listener.close()).seq == pytest.approx(96000, abs=3)


@pytest.mark.parametrize("before", [0, 50])
@pytest.mark.parametrize("after", [0, 50])
def test_a_stream_stands_as_well_behind_a_change_of_its_model(
    tiny_audio: Model, sound: NDArray[np.float32], before: float, after: float
) -> None:
    ledger = Ledger()
    ledger.open("kitchen", "b", 1000, tiny_audio.card, 16000, is_quiet=before == 0)
    first = listener_on(tiny_audio, 16000, before)
    for message in [*first.take(Block(sound[:6400], 0)), first.status(1.0, 0.0)]:
        ledger.after(message)
    coarse = replace(tiny_audio.card, sample_rate=8000, hop_length=640)  # each of its frames is 1280 of the producer's
    ledger.turn("kitchen", coarse, 16000, is_quiet=after == 0)
    second = listener_on(tiny_audio, 16000, after)
    second.vitals.frames = first.vitals.frames
    told = [*second.take(Block(sound[:960], 0)), second.status(2.0, 0.0)]
    assert standing_after(ledger, told) == Standing("b", 1000 + 6400 + 3 * 1280)


def test_a_stream_of_the_daemons_own_stands_at_a_time(tiny_audio: Model, sound: NDArray[np.float32]) -> None:
    ledger = Ledger()
    ledger.open("kitchen", "", 0, tiny_audio.card, 16000, is_quiet=False)
    messages = listener_on(tiny_audio, 16000, 50).take(Block(sound[:3200], 5 * 10**9))
    assert standing_after(ledger, messages) == Standing("", 5 * 10**9)


def test_of_a_stream_that_was_never_opened_nothing_is_told(tiny_audio: Model, sound: NDArray[np.float32]) -> None:
    (message,) = listener_on(tiny_audio, 16000, 50).take(Block(sound[:320], 0))
    assert Ledger().after(message) == b""
