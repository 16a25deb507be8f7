"""`python -m tests.fuzz [TARGET ...]`: fuzz for a time, or so many cases; exit code 1 where something was found."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.fuzz.harness import fuzz
from tests.fuzz.targets import TARGETS, make


def main() -> int:
    """A line a target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all where none is named")
    parser.add_argument("--seconds", type=float, help="of CPU, for each")
    parser.add_argument("--cases", type=int, default=10**9, help="for each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-found"), help="a folder for what was found")
    given = parser.parse_args()
    stacks = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders in C write of each fault there
    found = 0
    for name in given.targets or TARGETS:
        target = make(name)
        keep = given.keep / name
        outcome = fuzz(
            target.read,
            target.seeds,
            given.seed,
            given.cases,
            given.seconds,
            keep,
            may_grow=target.may_grow,
            stacks=stacks,
        )
        target.close()
        print(f"{name}: seed {given.seed}, {outcome}", flush=True)
        for what in outcome.found:
            print(f"  {what}", flush=True)
        found += len(outcome.found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
