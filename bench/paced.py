"""Paced: real-time streams over ZeroMQ, from a sample's capture to a subscriber; and how many fit on one core.

    python bench/paced.py [--streams N ...] [--seconds 60] [--largest] [--model FILE] [--out DIR]

The daemon (`otolith run` with network ingest) has one core; as many `Producer`s as streams, and the subscriber, share
another. With --largest it is also found by bisection how many streams fit: nothing lost, nothing late. A sample is lost
if it was pushed and not stepped, wherever that happened: in a producer, on the way, or in the daemon.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

from machine import QUIET, allow_many_files, cores, pinned
from models import RATE, WORDS
from otolith import Subscriber
from otolith.inference.model import Model
from otolith.wire.messages import AnyMessage, DetectionMessage, PosteriorsMessage, StatusMessage
from report import RESULTS, Figure, plot, table, write

HERE = Path(__file__).parent
STREAMS = (1, 8, 64, 250, 500, 1000)
BLOCK_S = 0.08
BLOCK = round(BLOCK_S * RATE)
WARM_UP_S = 5.0
SETTLE_S = 1.5
FEWEST = 250  # where the search begins
IN_TIME_MS = 100.0  # p99, from a block's last sample
FINEST = 0.05  # bisection ends where two answers are as near
SETTINGS = """
publish = "ipc://{folder}/publish.sock"
[ingest]
bind = ["zmq+ipc://{folder}/ingest.sock"]
max_streams = 100000
max_streams_per_s = 100000
max_bytes = 1073741824
[[route]]
pattern = "*"
model = "{model}"
posteriors_per_s = {posteriors_per_s}
"""


Percentiles = tuple[float, float, float] | None  # None where nothing was detected


@dataclass(frozen=True)
class Run:
    """What one run gave. `from_block_ms` counts from the last sample of the block that a message's last frame lay in,
    `from_sample_ms` from that frame's own last sample; both are the 50th, 99th and 99.9th percentile."""

    streams: int
    seconds: float
    cpu_percent: float
    from_block_ms: Percentiles
    from_sample_ms: Percentiles
    messages: int
    pushed: int
    lost: int
    missed: int
    resident_mb: float
    producers_late_ms: float  # how far behind their own clock producers ever were: over a block, they are the limit

    @property
    def keeps_up(self) -> bool:
        """Whether nothing was lost on any way, and nothing came late: buffers hide for seconds that a core is full."""
        in_time = self.from_block_ms is None or self.from_block_ms[1] < IN_TIME_MS
        return in_time and not (self.lost or self.missed)


class Ear:
    """The subscriber: how late messages come, and what each stream says it stepped."""

    def __init__(self) -> None:
        self.late_s: list[tuple[float, float]] = []  # behind the block's and the frame's last sample
        self.frames: dict[str, int] = {}
        self.measured = False

    def hear(self, message: AnyMessage) -> None:
        now_ns = time.time_ns()
        if isinstance(message, StatusMessage):
            if not message.stream.startswith("@"):  # the daemon's own has the sums of all
                self.frames[message.stream] = message.frames
        elif self.measured and isinstance(message, DetectionMessage | PosteriorsMessage):
            behind_s = (now_ns - message.time_ns) / 1e9
            self.late_s.append((behind_s - (-message.position % BLOCK) / RATE, behind_s))

    def percentiles(self, which: int) -> Percentiles:
        """Milliseconds: 50th, 99th, 99.9th."""
        if not self.late_s:
            return None
        half, most, all_but_few = np.percentile([1000 * pair[which] for pair in self.late_s], [50, 99, 99.9]).round(2)
        return float(half), float(most), float(all_but_few)


def measure(streams: int, seconds: float, model: Path, posteriors_per_s: float = 0) -> Run:
    """One run of a daemon, its producers and this process as its subscriber."""
    core, other = cores()
    hop_length, ear = Model.open(model).card.hop_length, Ear()
    with (
        tempfile.TemporaryDirectory() as folder,
        daemon_on(core, Path(folder), model, posteriors_per_s) as daemon,
        Subscriber(f"ipc://{folder}/publish.sock") as subscriber,
    ):
        producers = produce_on(other, folder, streams, WARM_UP_S + seconds + 1)
        listen(subscriber, ear, WARM_UP_S)
        cpu_percent = listen_and_measure(subscriber, ear, seconds, daemon)
        resident_mb = daemon.memory_info().rss / 1e6
        pushed, late_ms = last_words(producers, lambda: listen(subscriber, ear, 0.1))
        listen(subscriber, ear, SETTLE_S)
        daemon.terminate()
        listen(subscriber, ear, SETTLE_S)  # each stream's last status
        missed = subscriber.missed
    return Run(
        streams=streams,
        seconds=seconds,
        cpu_percent=round(cpu_percent, 1),
        from_block_ms=ear.percentiles(0),
        from_sample_ms=ear.percentiles(1),
        messages=len(ear.late_s),
        pushed=pushed,
        lost=pushed - hop_length * sum(ear.frames.values()),
        missed=missed,
        resident_mb=round(resident_mb, 1),
        producers_late_ms=late_ms,
    )


@contextmanager
def daemon_on(core: int, folder: Path, model: Path, posteriors_per_s: float) -> Iterator[psutil.Process]:
    settings = folder / "otolith.toml"
    settings.write_text(SETTINGS.format(folder=folder, model=model.resolve(), posteriors_per_s=posteriors_per_s))
    log = (folder / "log").open("w+")
    command = pinned(core, [sys.executable, "-m", "otolith", "run", settings])
    daemon = subprocess.Popen(command, env=os.environ | QUIET, stderr=log)
    try:
        yield psutil.Process(daemon.pid)
    finally:
        daemon.terminate()
        code = daemon.wait()
        log.seek(0)
        if code:
            raise SystemExit(f"the daemon ended with {code}: {(log.read().strip().splitlines() or [''])[-1]}")


def produce_on(core: int, folder: str, streams: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, HERE / "producers.py", f"zmq+ipc://{folder}/ingest.sock", str(streams), str(seconds)]
    return subprocess.Popen(pinned(core, command), env=os.environ | QUIET, stdout=subprocess.PIPE, text=True)


def last_words(producers: subprocess.Popen[str], meanwhile: Callable[[], None]) -> tuple[int, float]:
    """Samples pushed, and milliseconds that the producers were behind at worst."""
    while producers.poll() is None:
        meanwhile()
    if producers.returncode:
        raise SystemExit(f"the producers ended with {producers.returncode}")
    assert producers.stdout is not None
    pushed, late_ms = producers.stdout.read().split()
    return int(pushed), float(late_ms)


def listen(subscriber: Subscriber, ear: Ear, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        if (message := subscriber.receive(left_s)) is not None:
            ear.hear(message)


def listen_and_measure(subscriber: Subscriber, ear: Ear, seconds: float, daemon: psutil.Process) -> float:
    """The daemon's CPU time while its messages' delays are taken, in percent of a core."""
    ear.measured, before, began = True, cpu_s_of(daemon), time.monotonic()
    listen(subscriber, ear, seconds)
    ear.measured = False
    return 100 * (cpu_s_of(daemon) - before) / (time.monotonic() - began)


def cpu_s_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def largest(keeps_up: Callable[[int], bool], low: int, most: int) -> int:
    """The largest number that keeps up, to 5 %: doubled until it does not, then halved between. 0 if none does."""
    if not keeps_up(low):
        return 0
    high = min(2 * low, most + 1)
    while high <= most and keeps_up(high):
        low, high = high, min(2 * high, most + 1)
    while high - low > FINEST * low:
        middle = (low + high) // 2
        low, high = (middle, high) if keeps_up(middle) else (low, middle)
    return low


def in_words(percentiles: Percentiles) -> str:
    return " / ".join(f"{each:.1f}" for each in percentiles) if percentiles else "none came"


def rows_of(runs: list[Run]) -> str:
    head = [
        "streams",
        "daemon, % of a core",
        "from the block's last sample: p50 / p99 / p99.9 ms",
        "from the frame's",
        "of messages",
        "samples lost",
        "messages missed",
        "resident MB",
        "producers late, ms at worst",
    ]
    return table(
        head,
        [
            [
                run.streams,
                run.cpu_percent,
                in_words(run.from_block_ms),
                in_words(run.from_sample_ms),
                run.messages,
                run.lost,
                run.missed,
                run.resident_mb,
                run.producers_late_ms,
            ]
            for run in runs
        ],
    )


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="*", default=STREAMS)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--largest", action="store_true", help="find how many streams fit")
    parser.add_argument("--probe-seconds", type=float, default=20.0, help="how long each try of that search lasts")
    parser.add_argument("--most", type=int, default=8000, help="where that search ends")
    parser.add_argument("--posteriors-per-s", type=float, default=0.0, help="publish posteriors too, so often")
    parser.add_argument("--model", type=Path, default=WORDS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    allow_many_files()
    model, rate = arguments.model, arguments.posteriors_per_s
    os.sched_setaffinity(0, {cores()[1]})

    def run(streams: int, seconds: float) -> Run:
        taken = measure(streams, seconds, model, rate)
        print(f"{streams} streams: {asdict(taken)}", file=sys.stderr)
        return taken

    runs = [run(streams, arguments.seconds) for streams in arguments.streams]
    text, found = "", None
    if arguments.largest:
        found = largest(lambda streams: run(streams, arguments.probe_seconds).keeps_up, FEWEST, arguments.most)
        while found and not (longer := run(found, arguments.seconds)).keeps_up:
            found = int(0.95 * found)  # a try was too short to see it fall behind
        runs += [longer] if found else []
        text = f"\nLargest number that keeps up (nothing lost, p99 under {IN_TIME_MS:g} ms): {found}, to 5 %\n"
    title = f"Paced: {model.stem}, {1000 * BLOCK_S:g} ms blocks, {arguments.seconds:g} s"
    figures = {"paced": [asdict(each) for each in runs], "largest": found}
    write(arguments.out, "paced", title, figures, rows_of(runs) + text)
    lines = {"% of a core": {each.streams: Figure.of([each.cpu_percent]) for each in runs}}
    for name, which in (("p50, ms", 0), ("p99, ms", 1)):
        heard = [(each.streams, each.from_block_ms) for each in runs]
        lines[name] = {streams: Figure.of([late[which]]) for streams, late in heard if late}
    plot(arguments.out / "paced.svg", lines, "streams", "% of a core; ms from a block's last sample")


if __name__ == "__main__":
    main()
