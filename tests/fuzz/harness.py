"""Fuzzing: a reader is given cases until they, or the time, are over; whatever it does but accept or refuse is found.

Found are: an exception that is no `OtolithError`, a case that takes over a second of CPU, and memory that grows.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import hashlib
import re
import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from otolith.errors import OtolithError
from tests.fuzz.mutate import Cases

MOST_REASONS = 5000  # that are told apart: some hold what was refused
HANGS_S = 1.0  # of CPU, for one case
STUCK_S = 120  # by the clock: then all stacks are told, and it ends
GROWTH_BYTES = 32 << 20  # from the first tenth of a run on
LOOKED_EVERY = 1000  # cases, at the memory

Reader = Callable[[bytes], object]


@dataclass(slots=True)
class Outcome:
    """What a run came to."""

    cases: int = 0
    accepted: int = 0
    cpu_s: float = 0.0
    longest_s: float = 0.0
    grown_bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.cases} cases, {self.accepted} accepted, {len(self.reasons)} reasons, {self.cpu_s:.0f} s of CPU, "
            f"longest {1000 * self.longest_s:.0f} ms, memory +{self.grown_bytes / 2**20:.1f} MB, "
            f"{len(self.found)} found"
        )


def fuzz(
    read: Reader,
    seeds: Sequence[bytes],
    seed: int,
    cases: int,
    seconds: float | None = None,
    keep: Path | None = None,
    *,
    may_grow: bool = False,
    stacks: int = 2,
) -> Outcome:
    """Give `read` so many spoiled copies of `seeds`; those that were found are written to `keep`.

    Where it is stuck, all stacks are told to the descriptor `stacks`.
    """
    outcome, source = Outcome(), Cases(seeds, seed)
    began_s, settled_bytes = time.process_time(), 0
    for valid in seeds:
        read(valid)  # raises where a seed is not what it should be
    while outcome.cases < cases and (seconds is None or time.process_time() - began_s < seconds):
        case = source.next()
        if outcome.cases % LOOKED_EVERY == 0:
            faulthandler.dump_traceback_later(STUCK_S, exit=True, file=stacks)
            if outcome.cases <= cases // 10 and (seconds is None or time.process_time() - began_s <= seconds / 10):
                settled_bytes = _resident() - source.held_bytes
        if (reason := _try(read, case, outcome)) not in outcome.reasons:
            source.keep(case)
            if len(outcome.reasons) >= MOST_REASONS and not reason.startswith("!"):
                reason = "another"
        outcome.reasons[reason] += 1
        outcome.cases += 1
        if keep is not None and reason.startswith("!"):
            keep.mkdir(parents=True, exist_ok=True)
            (keep / hashlib.sha256(case).hexdigest()[:16]).write_bytes(case)
    faulthandler.cancel_dump_traceback_later()
    outcome.cpu_s = time.process_time() - began_s
    gc.collect()
    outcome.grown_bytes = _resident() - source.held_bytes - settled_bytes
    if outcome.grown_bytes > GROWTH_BYTES and not may_grow:
        outcome.found.append(f"memory grew by {outcome.grown_bytes} bytes")
    return outcome


def _try(read: Reader, case: bytes, outcome: Outcome) -> str:
    """What became of a case, without the figures in it; with ! in front, what must not be."""
    began_s = time.process_time()
    try:
        read(case)
    except OtolithError as refusal:
        reason = _skeleton(f"{type(refusal).__name__}: {refusal}")
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"!{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        if reason not in outcome.reasons:
            outcome.found.append(f"{reason}: {str(error)[:200]} of {case[:200]!r}")
    else:
        reason = "accepted"
        outcome.accepted += 1
    took_s = time.process_time() - began_s
    outcome.longest_s = max(outcome.longest_s, took_s)
    if took_s > HANGS_S:
        reason = f"!takes long: {reason}"
        outcome.found.append(f"{reason}, {took_s:.1f} s of {case[:200]!r}")
    return reason


def _skeleton(text: str) -> str:
    """A reason without what differs from case to case."""
    return re.sub(r"/\S+|'[^']*'|\"[^\"]*\"|\(.*\)|[\d.]+|[^\x20-\x7e]", "", text)[:60]


def _resident() -> int:
    """Bytes of memory that are in use now; what the allocator keeps for later is given back first."""
    ctypes.CDLL(None).malloc_trim(0)
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * resource.getpagesize()
