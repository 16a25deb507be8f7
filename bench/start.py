"""From nothing to the first answer, and memory against streams; beside what the peers need in the same run.

    python bench/start.py [--rounds 5] [--streams 1 100 1000 4000] [--peers NAME ...] [--out DIR]

A start is a new process, its imports, its model and one chunk of sound (files are in the cache: each was run once
before). Our daemon's start ends at a subscriber, in another process. Memory is what is resident after one chunk of
each stream; peers are asked for the first of `--streams` alone.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

from contestants import PEERS, Contestant, prepare
from live import first_prediction_s
from machine import cores
from report import RESULTS, Figure, counted, plot, table, write

DAEMON = "otolith daemon, words, at a subscriber"
STREAMS = (1, 100, 1000, 4000)


def starts(everyone: list[Contestant], rounds: int) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Seconds to the first answer, and resident megabytes of one stream; everyone once a round, in another order."""
    core, _ = cores()
    seconds: dict[str, list[float]] = defaultdict(list)
    resident: dict[str, list[float]] = defaultdict(list)
    draw = random.Random(0)  # noqa: S311 - an order, no secret
    for who in everyone:
        who.run(core, 1, 0)
    runners: list[Contestant | None] = [*everyone, None]  # None: the daemon
    for _ in range(rounds):
        draw.shuffle(runners)
        for who in runners:
            if who is None:
                seconds[DAEMON].append(first_prediction_s(core))
                continue
            answer = who.run(core, 1, 0)
            seconds[who.name].append(answer["first_s"])
            resident[who.name].append(answer["resident_mb"])
    return tuple({name: Figure.of(values) for name, values in of.items()} for of in (seconds, resident))


def memory(ours: list[Contestant], streams: list[int]) -> dict[str, dict[float, Figure]]:
    """Resident megabytes of our engine, at so many streams each in a process of its own."""
    core, _ = cores()
    return {who.name: {n: Figure.of([who.run(core, n, 0)["resident_mb"]]) for n in streams} for who in ours}


def tables(seconds: dict[str, Figure], resident: dict[str, Figure], grown: dict[str, dict[float, Figure]]) -> str:
    ordered = sorted(seconds, key=lambda name: seconds[name].median)
    text = table(
        ["one stream", "start to first answer, s", "resident MB"],
        [[name, seconds[name], resident.get(name, "")] for name in ordered],
    )
    streams = list(next(iter(grown.values())))
    rows = []
    for name, line in grown.items():
        more = line[streams[-1]].median - line[streams[0]].median
        rows.append([name, *line.values(), f"{1000 * more / max(1, streams[-1] - streams[0]):.1f}"])
    return text + "\n" + table(["resident MB", *(counted(n, "stream") for n in streams), "kB each further"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, nargs="+", default=STREAMS)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        everyone = prepare(Path(folder), tuple(arguments.peers))
        everyone = [who for who in everyone if who.module != "window" and "1 frame" not in who.name]
        seconds, resident = starts(everyone, arguments.rounds)
        grown = memory([who for who in everyone if who.is_ours], arguments.streams)
    figures = {
        "first_s": {name: asdict(figure) for name, figure in seconds.items()},
        "resident_mb": {name: asdict(figure) for name, figure in resident.items()},
        "resident_mb_by_streams": {name: {n: f.median for n, f in line.items()} for name, line in grown.items()},
    }
    write(arguments.out, "start", "Start and memory", figures, tables(seconds, resident, grown))
    plot(arguments.out / "memory.svg", grown, "streams", "resident MB")


if __name__ == "__main__":
    main()
