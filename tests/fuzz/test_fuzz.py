"""Each door, fuzzed for a moment from a fixed seed. `make fuzz` goes on for longer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from otolith.errors import WireError
from tests.fuzz.harness import fuzz
from tests.fuzz.targets import TARGETS, make

CASES, SECONDS = 1_000_000, 0.8  # whichever is over first
SLOW_CASES = {"opened": 200}  # what another process does is not in our CPU time


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_taken_or_refused(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = make(name)
    try:
        outcome = fuzz(target.read, target.seeds, 1, SLOW_CASES.get(name, CASES), SECONDS, tmp_path)
    finally:
        target.close()
    assert outcome.found == []
    assert outcome.cases > 20
    assert len(outcome.reasons) > 1 or name in ("rows", "control")  # which tell of faults without raising them


def test_the_same_seed_gives_the_same_cases() -> None:
    target = make("card")
    runs = [fuzz(target.read, target.seeds, 3, 300) for _ in range(2)]
    assert runs[0].reasons == runs[1].reasons


def test_what_must_not_be_is_found() -> None:
    slow = iter([1.1])

    def read(case: bytes) -> None:
        if case[:1] == b"b":
            raise KeyError(case)
        end_s = time.process_time() + (next(slow, 0) if case[:1] == b"c" else 0)
        while time.process_time() < end_s:
            pass
        if case[:1] != b"a":
            raise WireError("refused")

    outcome = fuzz(read, [b"aaaa"], 5, 20_000)
    assert any("KeyError" in found for found in outcome.found)
    assert any("takes long" in found for found in outcome.found)
