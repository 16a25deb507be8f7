"""What every competitor does alike: hear the same sound as so many streams, and say what that cost.

    python -m peers.NAME SOUND STREAMS SECONDS [OPTION ...]

SOUND is raw s16le mono at 16 kHz; the answer is one JSON line. SECONDS of CPU are measured; with 0 it ends after the
first answer. Nothing but the standard library: this runs in other programs' environments.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

RATE = 16000
WARM_UP_S = 0.2
ROUNDS = 64  # prepared ahead, so that cutting the sound costs no competitor anything
APART = 37  # chunks from where one stream hears the recording to where the next does

Hear = Callable[[Sequence[bytes]], object]


def compete(version: str, chunk: int, make: Callable[[int, list[str]], Hear], note: str = "") -> None:
    """Run one competitor as the command line asks. `make(streams, options)` gives what hears a chunk of each stream.

    `chunk` is in samples, `note` says what a reader of the figure must know.
    """
    sound, streams, seconds = Path(sys.argv[1]).read_bytes(), int(sys.argv[2]), float(sys.argv[3])
    hear = make(streams, sys.argv[4:])
    rounds = cut(sound, 2 * chunk, streams)
    hear(next(rounds))
    figures: dict[str, object] = {"version": version, "chunk_ms": 1000 * chunk / RATE, "note": note}
    if seconds:
        cpu_s_of(hear, rounds, WARM_UP_S)
        figures["cpu_s_per_s"] = cpu_s_of(hear, rounds, seconds) * RATE / (chunk * streams)
    print(json.dumps({**figures, "resident_mb": resident_mb()}), flush=True)


def each(make_one: Callable[[], Callable[[bytes], object]], streams: int) -> Hear:
    """For those that know no batch: a detector a stream, one after the other."""
    detectors = [make_one() for _ in range(streams)]

    def hear(chunks: Sequence[bytes]) -> None:
        for detector, chunk in zip(detectors, chunks, strict=True):
            detector(chunk)

    return hear


def cut(sound: bytes, length: int, streams: int) -> itertools.cycle[list[bytes]]:
    """Chunks of every stream, round after round; each stream hears the recording from a place of its own."""
    chunks = [sound[at : at + length] for at in range(0, len(sound) - length + 1, length)]
    rounds = [
        [chunks[(number + APART * stream) % len(chunks)] for stream in range(streams)]
        for number in range(min(ROUNDS, len(chunks)))
    ]
    return itertools.cycle(rounds)


def cpu_s_of(hear: Hear, rounds: itertools.cycle[list[bytes]], seconds: float) -> float:
    """CPU seconds of a round, all threads counted, in a loop of about `seconds`."""
    count, spent, began = 0, 0.0, time.process_time()
    while spent < seconds:
        hear(next(rounds))
        count += 1
        spent = time.process_time() - began
    return spent / count


def resident_mb() -> float:
    """What this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
