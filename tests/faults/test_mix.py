"""Faults in a drawn order against one daemon; afterwards every sample is accounted for."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.faults.house import House
from tests.faults.kinds import KINDS, Fault
from tests.faults.oracle import Verdict

PERIOD_S = 0.5
STATE = f'[state]\nfolder = "state"\nperiod_s = {PERIOD_S}\nresume_within_s = 3\n'
TOLD_TWICE = 6 * 16000  # by a kill: all since the last checkpoint, be it a backlog of seconds
RECOVERED_S = 30.0  # on a busy machine; what was seen is printed
MOST_MEMORY = 64_000_000  # more than it began with


def killed(house: House, rng: random.Random) -> Collection[str]:
    """kill -9; whoever starts it again may take a while."""
    house.wait_until_kept()
    house.daemon.process.kill()
    house.daemon.process.wait()
    time.sleep(rng.choice([0.0, 0.0, 1.0, 3.0]))
    house.start()
    return house.feeds


def ended(house: House, rng: random.Random) -> Collection[str]:
    """SIGTERM, and another start."""
    house.daemon.stop()
    house.start()
    return house.feeds


DRAWN: dict[str, Fault] = {**KINDS, "killed": killed, "ended": ended}


def test_whatever_comes_every_sample_is_told_of(tmp_path: Path, is_full: bool, request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--faults-seed") or secrets.randbelow(1 << 32)
    print(f"--faults-seed={seed}")
    rng, slowest_s, kills = random.Random(seed), 0.0, 0
    with House(tmp_path, ["one", "two", "three", "four"], top=STATE) as house:
        before, memory = house.settle(), house.memory
        for number in range(60 if is_full else 4):
            name = rng.choice(list(DRAWN))
            where = f"--faults-seed={seed}, number {number + 1}: {name}"
            print(where, flush=True)
            disturbed = DRAWN[name](house, rng)
            slowest_s = max(slowest_s, house.wait_until_told())
            after = house.settle()
            kills += name == "killed"
            check(before, after, disturbed, kills, where)
            before = after
        print(f"well again within {slowest_s:.1f} s", *after.values(), sep="\n")
        assert slowest_s < RECOVERED_S
        assert house.memory < memory + MOST_MEMORY


def check(
    before: dict[str, Verdict], after: dict[str, Verdict], disturbed: Collection[str], kills: int, where: str
) -> None:
    for name, verdict in after.items():
        assert verdict.untold == 0, f"{where}: {verdict}"
        assert verdict.twice <= kills * TOLD_TWICE, f"{where}: {verdict}"
        assert name in disturbed or verdict.lost == before[name].lost, f"{where}: {before[name]}, {verdict}"
