"""Publication: messages a second, and CPU a message, with 0, 1 and 10 subscribers.

    python bench/publish.py [--rounds 5] [--seconds 2] [--subscribers 0 1 10] [--out DIR]

The daemon's own `Publisher` sends detections as fast as it can, on one core; its subscribers share another. Nothing
slows a publisher down: what subscribers cannot take in is dropped for them, and counted here by what they received.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

from machine import QUIET, cores, pinned
from otolith import Subscriber
from otolith.sinks.publisher import Publisher
from otolith.wire.messages import DetectionMessage
from report import RESULTS, Figure, counted, plot, table, write

SETTLE_S = 1.0
NEVER_S = 60.0
BATCH = 500  # messages between two looks at the clock
QUANTITIES = {"messages_per_s": "messages a second", "cpu_us": "CPU us a message", "received": "share received"}


def message(seq: int) -> DetectionMessage:
    return DetectionMessage(
        boot="0123456789abcdef",
        seq=seq,
        stream="kitchen",
        model="words@0123456789ab",
        time_ns=time.time_ns(),
        position=320 * seq,
        id=seq,
        label="yes",
        phase="start",
        confidence=0.9,
        onset_ns=time.time_ns(),
        latency_ms=40.0,
    )


def publish(endpoint: str, seconds: float) -> tuple[int, float, float]:
    """Send for so long: messages, seconds, CPU seconds (ZeroMQ's thread included)."""
    with Publisher(endpoint) as publisher:
        time.sleep(SETTLE_S)  # for subscribers to connect
        began, cpu, sent = time.monotonic(), time.process_time(), 0
        while time.monotonic() - began < seconds:
            for _ in range(BATCH):
                publisher.take(message(sent))
                sent += 1
        lasted, spent = time.monotonic() - began, time.process_time() - cpu
        time.sleep(SETTLE_S)  # for what is queued to leave
    return sent, lasted, spent


def listen(endpoint: str) -> int:
    """Count messages until none has come for a second."""
    count = 0
    with Subscriber(endpoint) as subscriber:
        while subscriber.receive(SETTLE_S if count else NEVER_S) is not None:
            count += 1
    return count


def measure(subscribers: int, seconds: float) -> dict[str, float]:
    """One run: a publisher and its subscribers, each a process of its own."""
    core, other = cores()
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/publish.sock"
        ears = [_spawn(other, "--listen", endpoint) for _ in range(subscribers)]
        time.sleep(SETTLE_S)
        voice = _spawn(core, "--publish", endpoint, "--seconds", str(seconds))
        sent, lasted, spent = map(float, voice.communicate()[0].split())
        heard = [int(ear.communicate()[0]) for ear in ears]
    taken = {"messages_per_s": sent / lasted, "cpu_us": 1e6 * spent / sent}
    return taken | ({"received": sum(heard) / (subscribers * sent)} if subscribers else {})


def _spawn(core: int, *arguments: str) -> subprocess.Popen[str]:
    command = pinned(core, [sys.executable, Path(__file__), *arguments])
    return subprocess.Popen(command, env=os.environ | QUIET, stdout=subprocess.PIPE, text=True)


def compare(subscribers: list[int], rounds: int, seconds: float) -> dict[str, dict[float, Figure]]:
    """By quantity and number of subscribers, medians and ranges of interleaved rounds."""
    taken: dict[int, list[dict[str, float]]] = defaultdict(list)
    draw, order = random.Random(0), list(subscribers)  # noqa: S311 - an order, no secret
    for _ in range(rounds):
        draw.shuffle(order)
        for count in order:
            taken[count].append(measure(count, seconds))
    return {
        quantity: {n: Figure.of(run[quantity] for run in runs) for n, runs in taken.items() if quantity in runs[0]}
        for quantity in QUANTITIES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--subscribers", type=int, nargs="+", default=[0, 1, 10])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--publish", metavar="ENDPOINT", help=argparse.SUPPRESS)
    parser.add_argument("--listen", metavar="ENDPOINT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish:
        print(*publish(arguments.publish, arguments.seconds))
        return
    if arguments.listen:
        print(listen(arguments.listen))
        return
    figures = compare(arguments.subscribers, arguments.rounds, arguments.seconds)
    rows = [[QUANTITIES[name], *(line.get(n, "") for n in arguments.subscribers)] for name, line in figures.items()]
    text = table(["", *(counted(n, "subscriber") for n in arguments.subscribers)], rows)
    told = {name: {count: asdict(figure) for count, figure in line.items()} for name, line in figures.items()}
    write(arguments.out, "publish", "Publication", {"publish": told}, text)
    shown = {count + 1: figure for count, figure in sorted(figures["cpu_us"].items())}
    plot(arguments.out / "publish.svg", {"otolith": shown}, "subscribers + 1", "CPU us a message")


if __name__ == "__main__":
    main()
