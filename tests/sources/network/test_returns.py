"""Returns: what a daemon that was killed had heard of a stream, and nobody kept, is declared by the next one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otolith.service.keeping.estate import SLACK_S
from otolith.sources.network.returns import DIED, RESTARTED
from otolith.sources.network.roster import Opened
from otolith.wire.line import Standing
from tests.sources.network.test_roster import HEADER, WRAP, Driven, told

RATE = round(HEADER.rate)


@dataclass
class Before:
    """A run that kept one stream's `kept`, and may have heard another that is `younger_s` old at most."""

    kept: Standing | None = None
    younger_s: float = 5.0

    def standing(self, stream: str) -> Standing | None:
        return self.kept if stream == "kitchen" else None

    def may_lack(self, age_s: float, _now_s: float) -> bool:
        return age_s <= self.younger_s


@pytest.mark.parametrize("wrap", [0, WRAP])
@pytest.mark.parametrize("kept", [None, Standing("another", 9000)], ids=["nothing kept", "another run kept"])
def test_a_stream_younger_than_the_last_checkpoint_is_declared_from_its_beginning(
    kept: Standing | None, wrap: int
) -> None:
    driven = Driven(kept=Before(kept))
    assert driven.take(5 * RATE, wrap=wrap)
    assert isinstance(opened := driven.roster.arrivals()[0], Opened)
    assert opened.seq == 0
    driven = Driven(kept=Before(kept))
    driven.take(5 * RATE, wrap=wrap)
    assert [told(block) for block in driven.blocks()] == [(10, 5 * RATE, RESTARTED)]


@pytest.mark.parametrize("seq", [0, 5 * RATE + 1], ids=["loses nothing", "older"])
def test_of_any_other_stream_that_nobody_kept_nothing_is_declared(seq: int) -> None:
    driven = Driven(kept=Before())
    driven.take(seq)
    assert [told(block) for block in driven.blocks()] == [(10, 0, "")]


def test_what_was_kept_goes_before_a_guess() -> None:
    driven = Driven(kept=Before(Standing("b", 300)))
    driven.take(420)
    assert [told(block) for block in driven.blocks()] == [(10, 120, RESTARTED)]


def test_a_device_that_began_again_behind_what_was_kept_is_young() -> None:
    driven = Driven(kept=Before(Standing("b", 90_000)))
    driven.take(420, wrap=WRAP)
    assert [told(block) for block in driven.blocks()] == [(10, 420, RESTARTED)]


def test_over_a_minute_is_never_declared() -> None:
    driven = Driven(kept=Before(younger_s=1e9))
    driven.take(61 * RATE)
    assert [told(block) for block in driven.blocks()] == [(10, 0, "")]


def test_what_this_run_has_told_of_is_not_declared_again() -> None:
    driven = Driven(kept=Before())
    driven.take(100)
    driven.take(110, 0, end=True)
    driven.take(200)
    assert [told(block)[:2] for block in driven.blocks()] == [(10, 100), (10, 0)]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (Before(Standing("b", 300)), (10, 700, RESTARTED)),
        (Before(younger_s=20), (10, 1000, RESTARTED)),
        (Before(younger_s=0), (10, 100, DIED)),
    ],
    ids=["kept", "young", "unknown"],
)
def test_of_a_worker_that_died_before_it_told_anything_the_run_before_knows_more(
    kept: Before, expected: tuple[int, int, str]
) -> None:
    driven = Driven(kept=kept)
    driven.take(1000, standing=Standing("b", 900, is_first=True))
    assert [told(block) for block in driven.blocks()] == [expected]


def test_what_a_worker_that_died_had_from_its_beginning_is_that_workers_loss() -> None:
    driven = Driven(kept=Before(younger_s=20))
    driven.take(1000, standing=Standing("b", 0, is_first=True))
    assert [told(block) for block in driven.blocks()] == [(10, 1000, DIED)]


def test_of_one_that_told_something_nothing_else_matters() -> None:
    driven = Driven(kept=Before(Standing("b", 300)))
    driven.take(1000, standing=Standing("b", 900))
    assert [told(block) for block in driven.blocks()] == [(10, 100, DIED)]


def test_young_streams_count_as_new_ones() -> None:
    driven = Driven(kept=Before(), max_streams_per_s=1)
    assert driven.take(100, stream="one")
    assert driven.refusal(100, 10, "two") == "hurried"


def test_who_fell_silent_within_a_minute_may_come_back_to_the_next_run_and_who_said_goodbye_may_not() -> None:
    driven = Driven()
    driven.take(0, stream="silent")
    driven.take(0, stream="polite")
    driven.take(10, 0, stream="polite", end=True)
    driven.fall_silent()
    returns = driven.roster.returns
    assert returns.gone(driven.now_s - 1) == {"silent": Standing("b", 10)}
    assert returns.gone(driven.now_s + 1) == {}


@given(
    checkpoint=st.integers(-200, 400),
    heard=st.integers(1, 200),
    lost=st.integers(0, 300),
    held=st.integers(0, 2 * RATE),
)
def test_no_sample_is_untold_wherever_in_a_streams_life_the_last_checkpoint_lay(
    checkpoint: int, heard: int, lost: int, held: int
) -> None:
    """Law 5 over two runs, in samples from the stream's first: what was not kept when the first was killed is declared.

    The stream was `held` back by its producer when it came, as long as nobody listened.
    """
    kept = Standing("b", checkpoint) if checkpoint > 0 else None
    back = max(checkpoint, 0) + heard + lost
    age_s = (back - checkpoint - held) / RATE  # of the checkpoint, when the stream comes back
    driven = Driven(kept=Before(kept, younger_s=age_s + SLACK_S))
    driven.take(back)
    declared = sum(block.lost for block in driven.blocks())
    assert back - declared == max(checkpoint, 0)
