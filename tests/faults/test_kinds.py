"""Each kind of fault alone: the daemon is well again, all samples are told of, and whom it did not touch lost none."""

from __future__ import annotations

import random

import pytest

from tests.faults.house import House
from tests.faults.kinds import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_sample_is_told_of_through(kind: str, house: House) -> None:
    before = house.settle()
    disturbed = KINDS[kind](house, random.Random(kind))
    recovered_s = house.wait_until_told()
    after = house.settle()
    print(kind, round(recovered_s, 2), {name: after[name].lost - before[name].lost for name in after})
    for name, verdict in after.items():
        assert verdict.untold == verdict.twice == 0
        assert name in disturbed or verdict.lost == before[name].lost, verdict
    assert house.witness.missed == 0
