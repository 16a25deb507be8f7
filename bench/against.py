"""Against the peers, hot: CPU seconds for a second of sound, at 1 to 512 streams.

    python bench/against.py [--rounds 5] [--seconds 0.5] [--streams 1 8 64 512] [--peers NAME ...] [--out DIR]

Everyone hears the same recording as int16 bytes, on the same core; each measurement is a process of its own, and in
each round their order is drawn anew. What it does and does not say is told in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contestants import PEERS, Contestant, prepare
from machine import cores
from report import RESULTS, Figure, Lines, counted, plot, table, write

ALIKE = "otolith GRU 64"  # of the size of the peers' networks
Costs = dict[str, dict[int, list[float]]]  # by contestant and streams, a figure a round
Told = dict[str, dict[str, Any]]  # of each contestant: version, chunk_ms, note


def measure(everyone: list[Contestant], streams: list[int], rounds: int, seconds: float) -> tuple[Costs, Told]:
    """Costs, and of each contestant version, chunk and note."""
    core, _ = cores()
    heats = [(who, count) for who in everyone for count in streams if count <= who.most]
    costs: Costs = {who.name: defaultdict(list) for who in everyone}
    told: Told = {}
    draw = random.Random(0)  # noqa: S311 - an order, no secret
    for number in range(rounds):
        draw.shuffle(heats)
        heats.sort(key=lambda heat: heat[1])  # who is compared with whom runs close together
        for place, (who, count) in enumerate(heats):
            print(f"\rround {number + 1}, {place + 1}/{len(heats)}  {who.name:40}", end="", file=sys.stderr)
            answer = who.run(core, count, seconds)
            costs[who.name][count].append(answer["cpu_s_per_s"])
            told[who.name] = {key: answer[key] for key in ("version", "chunk_ms", "note")}
    print(file=sys.stderr)
    return costs, told


def lines_of(costs: Costs) -> Lines:
    return {name: {count: Figure.of(of[count]) for count in sorted(of)} for name, of in costs.items()}


def ratios(costs: Costs, name: str, other: str) -> dict[int, Figure]:
    """What `name` costs as a multiple of `other`, round by round, where both were asked."""
    shared = sorted(costs[name].keys() & costs[other].keys())
    return {
        count: Figure.of(a / b for a, b in zip(costs[name][count], costs[other][count], strict=True))
        for count in shared
    }


def is_compared(ours: str, other: str) -> bool:
    """With every peer, and with the window that moves as far."""
    calls = other.partition(", ")[2]
    return not other.startswith("otolith") and calls in ("", ours.partition(", ")[2])


def tables(costs: Costs, told: Told, streams: list[int]) -> str:
    """Costs, then what we cost as a multiple of everyone else."""
    head = ["CPU s a second of sound", "version", "chunk", *(counted(n, "stream") for n in streams), ""]
    rows = []
    for name, line in lines_of(costs).items():
        of = told[name]
        cells = [line.get(count, "") for count in streams]
        rows.append([name, of["version"], f"{of['chunk_ms']:g} ms", *cells, of["note"]])
    compared = [
        (name, other, ratios(costs, name, other))
        for name in costs
        for other in costs
        if name.startswith(ALIKE) and is_compared(name, other)
    ]
    head_of_ratios = ["what costs", "as a multiple of", *(counted(n, "stream") for n in streams)]
    rows_of_ratios = [[name, other, *(line.get(n, "") for n in streams)] for name, other, line in compared]
    return table(head, rows) + "\n" + table(head_of_ratios, rows_of_ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        everyone = prepare(Path(folder), tuple(arguments.peers))
        costs, told = measure(everyone, arguments.streams, arguments.rounds, arguments.seconds)
    lines = lines_of(costs)
    figures = {name: told[name] | {"cpu_s_per_s": {n: asdict(f) for n, f in of.items()}} for name, of in lines.items()}
    rounds = {name: {n: of[n] for n in sorted(of)} for name, of in costs.items()}
    write(arguments.out, "hot", "Hot", {"hot": figures, "rounds": rounds}, tables(costs, told, arguments.streams))
    plot(arguments.out / "hot.svg", lines, "streams", "CPU seconds a second of sound")


if __name__ == "__main__":
    main()
