"""The roster: every sample is handed on or counted as lost, and no limit is passed by anyone."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otolith.settings import IngestSettings
from otolith.sources.network import roster as at
from otolith.sources.network.returns import DIED, LOST, NOTHING_KEPT, Remembered
from otolith.sources.network.roster import Ended, Opened, Received, Roster
from otolith.sources.source import LATE, Block
from otolith.wire.block import Header, RefusedError
from otolith.wire.line import Standing

NOW_NS = 10**18
WRAP = 1 << 32
HEADER = Header(boot="b", seq=0, kind="audio", format="s16le", rate=100)


class Driven:
    """A roster, and a producer's side that counts for it."""

    def __init__(self, why_not: str = "", kept: Remembered = NOTHING_KEPT, **limits: Any) -> None:
        self.roster: Roster[str] = Roster(IngestSettings(**limits), lambda _opened: why_not, kept)
        self.now_s = 100.0

    def take(
        self,
        seq: int,
        length: int = 10,
        stream: str = "kitchen",
        wrap: int = 0,
        standing: Standing | None = None,
        **changes: Any,
    ) -> bool:
        samples = (np.arange(length) + seq).astype(np.int16)
        header = msgspec.structs.replace(HEADER, seq=seq, **changes)
        return self.roster.take(stream, header, samples, "somewhere", self.now_s, NOW_NS, wrap, standing)

    def refusal(self, seq: int, *arguments: Any, **changes: Any) -> str:
        with pytest.raises(RefusedError) as refused:
            self.take(seq, *arguments, **changes)
        return refused.value.reason

    def fall_silent(self) -> None:
        """Until all streams have ended."""
        self.now_s += 60
        self.roster.sweep(self.now_s)
        assert not len(self.roster)

    def blocks(self) -> list[Block]:
        return [block for a in self.roster.arrivals() if isinstance(a, Received) for block in a.blocks]


def told(block: Block) -> tuple[int, int, str]:
    return len(block.samples), block.lost, block.reason


def test_a_stream_opens_with_its_first_block_and_ends_with_a_goodbye() -> None:
    driven = Driven()
    assert driven.take(500)
    assert not driven.take(510, 0, end=True)
    opened, received, ended = driven.roster.arrivals()
    assert opened == Opened("kitchen", "audio", 100, 1)
    assert isinstance(received, Received)
    assert [told(block) for block in received.blocks] == [(10, 0, "")]
    assert ended == Ended("kitchen", at.GOODBYE)
    assert len(driven.roster) == 0


def test_what_is_missing_between_two_blocks_is_declared_to_the_sample() -> None:
    driven = Driven()
    driven.take(0)
    driven.take(35)
    driven.take(50, 0, end=True)
    assert [told(block) for block in driven.blocks()] == [(10, 0, ""), (10, 25, LOST), (0, 5, LOST)]


def test_a_block_that_comes_twice_or_late_is_refused_and_the_stream_goes_on() -> None:
    driven = Driven()
    driven.take(0)
    driven.take(20)
    assert driven.refusal(20) == "late"
    assert driven.refusal(10) == "late"
    driven.take(30)
    assert [block.lost for block in driven.blocks()] == [0, 10, 0]


@pytest.mark.parametrize("seq", [0, 100_000])
def test_a_leap_that_no_loss_explains_is_a_producer_that_began_again(seq: int) -> None:
    driven = Driven()
    driven.take(10_000)
    assert driven.take(seq)
    assert driven.roster.arrivals()[2] == Ended("kitchen", at.BEGAN_AGAIN)


def test_what_a_broken_connection_still_held_is_late_and_a_device_that_counts_from_0_began_again() -> None:
    driven = Driven()
    driven.take(5000)
    assert driven.refusal(10) == "late"  # 50 s back, of a run that has a name
    driven = Driven()
    driven.take(5000, wrap=WRAP)
    assert driven.take(10, wrap=WRAP)


def test_a_run_that_comes_back_behind_a_silence_tells_what_was_lost_in_it() -> None:
    driven = Driven()
    driven.take(0)
    driven.fall_silent()
    assert driven.refusal(0) == "late"
    assert driven.take(1000)
    assert [told(block) for block in driven.blocks()] == [(10, 0, ""), (10, 990, LOST)]


@pytest.mark.parametrize("boot", ["another", ""])
def test_behind_a_goodbye_or_another_run_nothing_was_lost(boot: str) -> None:
    driven = Driven()
    driven.take(0, end=not boot)
    driven.fall_silent()
    assert driven.take(1000, boot=boot or "b")
    assert [block.lost for block in driven.blocks()] == [0, 0]


def test_a_sequence_that_wraps_goes_on() -> None:
    driven = Driven()
    driven.take(WRAP - 10, wrap=WRAP)
    driven.take(5, wrap=WRAP)
    assert driven.refusal(WRAP - 1, wrap=WRAP) == "late"
    driven.take(15, wrap=WRAP)
    assert [block.lost for block in driven.blocks()] == [0, 5, 0]


def test_a_name_is_held_by_one_run_until_it_falls_silent() -> None:
    driven = Driven()
    driven.take(0)
    assert driven.refusal(0, boot="c") == "taken"
    driven.now_s += at.TAKEOVER_S
    assert driven.take(0, boot="c")
    assert driven.roster.arrivals()[2:4] == [Ended("kitchen", at.TAKEN_OVER), Opened("kitchen", "audio", 100, 1)]
    assert driven.refusal(10) == "taken"


def test_a_stream_does_not_change_its_kind_rate_or_channels() -> None:
    driven = Driven()
    driven.take(0)
    for change in ({"rate": 200}, {"kind": "sensor"}, {"channels": 2}):
        assert driven.refusal(10, **change) == "changed"


def test_a_silent_stream_ends_and_the_others_do_not() -> None:
    driven = Driven(silence_s=5)
    driven.take(0, stream="cellar")
    driven.now_s += 4
    driven.take(0)
    driven.now_s += 1
    driven.roster.sweep(driven.now_s)
    assert driven.roster.arrivals()[-1] == Ended("cellar", "nothing came for 5 s")
    assert len(driven.roster) == 1


def test_streams_and_new_streams_a_second_are_limited_and_those_there_are_go_on() -> None:
    driven = Driven(max_streams=3, max_streams_per_s=2, max_bytes=1 << 20)
    driven.take(0, stream="a")
    driven.take(0, stream="b")
    assert driven.refusal(0, stream="c") == "hurried"
    driven.now_s += 0.5
    driven.take(0, stream="c")
    driven.now_s += 10
    assert driven.refusal(0, stream="d") == "crowded"
    driven.take(10, stream="a")
    driven.take(0, boot="again", stream="b")  # takes its own place, not another
    assert len(driven.roster) == 3


def test_a_stream_that_cannot_be_served_costs_nobody_a_place() -> None:
    driven = Driven(why_not="no route", max_streams_per_s=1)
    assert [driven.refusal(0) for _ in range(5)] == ["unrouted"] * 5
    assert driven.roster.arrivals() == []


def test_a_refused_block_changes_nothing() -> None:
    driven = Driven(max_streams_per_s=1)
    driven.take(10_000)
    assert driven.refusal(0) == "hurried"  # it would begin again, which is a new stream
    driven.take(10_010)
    assert [block.lost for block in driven.blocks()] == [0, 0]


def test_a_stream_that_falls_behind_loses_its_oldest_and_tells_how_many() -> None:
    driven = Driven(max_bytes_per_stream=4096)  # eight blocks of 500 bytes, with what a block costs: five
    for seq in range(0, 2000, 250):
        driven.take(seq, 250)
    blocks = driven.blocks()
    assert told(blocks[0]) == (250, 2000 - 250 * len(blocks), LATE)
    assert [block.samples[-1] for block in blocks][-1] == 1999
    assert driven.roster.behind() == [("kitchen", "somewhere", blocks[0].lost)]
    assert driven.roster.behind() == []


def test_where_all_wait_too_much_the_fullest_loses() -> None:
    driven = Driven(max_streams=16, max_bytes=1 << 16)
    for number in range(8):
        driven.take(0, 1000, stream=f"calm-{number}")
    for seq in range(0, 60_000, 2000):
        driven.take(seq, 2000, stream="flood")
    lost = {a.stream: sum(b.lost for b in a.blocks) for a in driven.roster.arrivals() if isinstance(a, Received)}
    assert lost.pop("flood") > 0
    assert set(lost.values()) == {0}


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 3000), st.integers(0, 3), st.booleans(), st.booleans()),
        max_size=60,
    )
)
def test_every_sample_is_handed_on_or_counted_whatever_the_limits(
    steps: list[tuple[str, int, int, bool, bool]],
) -> None:
    """Law 5, at this door: streams that lose blocks, floods, goodbyes, and a loop that looks now and then."""
    driven = Driven(max_streams=16, max_bytes_per_stream=8192, max_bytes=1 << 16, max_streams_per_s=1000)
    sent = dict.fromkeys("abc", 0)  # also how far the producer has counted
    taken = dict.fromkeys("abc", 0)
    for stream, length, missing, end, is_looked_at in steps:
        is_open = stream in [name for name, count in sent.items() if count]
        seq = sent[stream] + (missing if is_open else 0)
        driven.take(seq, length, stream=stream, end=end)
        sent[stream] = seq + length
        if is_looked_at or end:
            for arrival in driven.roster.arrivals():
                if isinstance(arrival, Received):
                    taken[arrival.stream] += sum(len(block.samples) + block.lost for block in arrival.blocks)
        if end:
            assert taken[stream] == sent[stream]
            sent[stream] = taken[stream] = 0


@pytest.mark.parametrize(
    ("told_ns", "expected_ns", "faults"),
    [
        (NOW_NS - 10**9, NOW_NS - 10**9, 0),
        (0, NOW_NS, 0),
        (NOW_NS + 10**6, NOW_NS, 0),
        (NOW_NS + 10**10, NOW_NS, 1),
        (5, NOW_NS, 1),
    ],
    ids=["true", "not told", "a millisecond ahead", "in the future", "long ago"],
)
def test_a_capture_time_that_cannot_be_true_becomes_that_of_arrival(
    told_ns: int, expected_ns: int, faults: int
) -> None:
    driven = Driven()
    driven.take(0, time_ns=told_ns)
    assert driven.blocks()[0].time_ns == expected_ns
    assert driven.roster.faults["clock"] == faults


def test_a_clock_that_is_set_back_is_noticed_once() -> None:
    driven = Driven()
    for seq, told_ns in ((0, NOW_NS - 100), (10, NOW_NS - 9000), (20, NOW_NS - 8000)):
        driven.take(seq, time_ns=told_ns)
    assert [block.time_ns for block in driven.blocks()] == [NOW_NS - 100, NOW_NS, NOW_NS - 8000]
    assert driven.roster.faults["clock"] == 1


@pytest.mark.parametrize(("standing", "seq", "wrap"), [(500, 800, 0), (WRAP - 100, 200, WRAP)])
def test_a_stream_that_goes_on_from_a_dead_worker_declares_what_lies_between(
    standing: int, seq: int, wrap: int
) -> None:
    driven = Driven()
    assert driven.take(seq, wrap=wrap, standing=Standing("b", standing))
    opened, received = driven.roster.arrivals()
    assert isinstance(opened, Opened)
    assert isinstance(received, Received)
    assert (opened.boot, opened.seq) == ("b", standing)
    assert [told(block) for block in received.blocks] == [(10, 300, DIED)]
    driven.take(seq + 10, wrap=wrap)
    driven.take(seq + 25, wrap=wrap)
    assert [told(block) for block in driven.blocks()] == [(10, 0, ""), (10, 5, LOST)]


@pytest.mark.parametrize("standing", [Standing("another", 500), Standing("b", 0), None])
def test_a_stream_that_does_not_go_on_from_there_has_lost_nothing(standing: Standing | None) -> None:
    driven = Driven()
    assert driven.take(500 if standing is None or standing.seq else 10_000, standing=standing)
    assert [told(block) for block in driven.blocks()] == [(10, 0, "")]


def test_streams_of_a_dead_worker_are_no_new_ones() -> None:
    driven = Driven(max_streams_per_s=1)
    for number in range(20):
        assert driven.take(500, stream=f"kitchen-{number}", standing=Standing("b", 400))
    assert driven.take(0, stream="new")
    assert driven.refusal(0, 10, "newer") == "hurried"
