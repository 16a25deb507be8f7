"""A producer whose clock is a little off, for an hour; simulated, since the roster is handed its clocks."""

from __future__ import annotations

import numpy as np
import pytest

from otolith.settings import IngestSettings
from otolith.sources.network.roster import Ended, Received, Roster
from otolith.wire.block import Header

HOUR_S, RATE = 3600, 16000
BEGAN_NS = 1_800_000_000 * 10**9


@pytest.mark.parametrize("drift", [200e-6, -200e-6])
def test_a_clock_that_drifts_for_an_hour_makes_no_gap_and_no_time_that_cannot_be(drift: float) -> None:
    """The producer captures a second of its own in 1 / (1 + drift) of ours, and tells its own times."""
    roster: Roster[str] = Roster(IngestSettings(), lambda _: "")
    second, lost, ended, told_ns = np.zeros(RATE, np.int16), 0, 0, [0]
    for number in range(1, HOUR_S + 1):
        now_s = number / (1 + drift)
        now_ns = BEGAN_NS + round(now_s * 1e9)
        told, seq = BEGAN_NS + number * 10**9, (number - 1) * RATE
        header = Header(boot="b", seq=seq, kind="audio", format="s16le", rate=RATE, time_ns=told)
        roster.take("kitchen", header, second, "somewhere", now_s, now_ns)
        for arrival in roster.arrivals():
            ended += isinstance(arrival, Ended)
            for block in arrival.blocks if isinstance(arrival, Received) else ():
                lost += block.lost
                told_ns.append(block.time_ns)
                assert -(10**9) < block.time_ns - now_ns <= 0
    assert (lost, ended, len(told_ns), roster.faults["clock"]) == (0, 0, HOUR_S + 1, 0)
    assert told_ns == sorted(told_ns)
