"""One daemon, one live stream: start to first prediction, memory, and CPU at real time.

    python bench/live.py [--repeats 5] [--seconds 20] [--json]

The daemon runs as a process of its own on the demo's recording, paced; this process is its subscriber. Told are medians
and ranges.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from machine import pinned
from otolith import Subscriber

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "exported_models" / "words.onnx"
RECORDING = ROOT / "examples" / "demo" / "words.flac"
WARM_UP_S = 2.0


@contextmanager
def daemon(core: int | None = None) -> Iterator[tuple[psutil.Process, float]]:
    """A daemon that has made its first prediction, and how many seconds that took from its start."""
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/publish.sock"
        command = [sys.executable, "-m", "otolith", "run", "--model", MODEL, "--source", f"recording:{RECORDING}"]
        command = [*command, "--publish", endpoint]
        with Subscriber(endpoint, kind="posteriors") as subscriber:
            started = time.monotonic()
            process = subprocess.Popen(command if core is None else pinned(core, command), stderr=subprocess.DEVNULL)
            try:
                if subscriber.receive(30) is None:
                    raise SystemExit("the daemon published nothing within 30 s")
                yield psutil.Process(process.pid), time.monotonic() - started
            finally:
                process.terminate()
                process.wait()


def first_prediction_s(core: int) -> float:
    """Seconds from a daemon's start, on one core, to its first prediction at a subscriber."""
    with daemon(core) as (_, first_s):
        return first_s


def measure(seconds: float) -> dict[str, float]:
    """One run of a daemon."""
    with daemon() as (process, first_s):
        time.sleep(WARM_UP_S)
        before, began = process.cpu_times(), time.monotonic()
        time.sleep(seconds)
        after, lasted = process.cpu_times(), time.monotonic() - began
        cpu_s = after.user + after.system - before.user - before.system
        resident_mb = process.memory_info().rss / 1e6
    return {"first_prediction_s": first_s, "resident_mb": resident_mb, "cpu_percent_of_a_core": 100 * cpu_s / lasted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    runs = [measure(arguments.seconds) for _ in range(arguments.repeats)]
    figures = {
        name: {
            "median": statistics.median(r[name] for r in runs),
            "min": min(r[name] for r in runs),
            "max": max(r[name] for r in runs),
        }
        for name in runs[0]
    }
    if arguments.json:
        print(json.dumps({"machine": platform.processor() or platform.machine(), "repeats": len(runs), **figures}))
        return
    for name, figure in figures.items():
        print(f"{name:24} median {figure['median']:7.2f}   from {figure['min']:.2f} to {figure['max']:.2f}")


if __name__ == "__main__":
    main()
