"""A model swapped under load: how much later than usual a message comes while `otolith reload` brings another model in.

    python bench/swap.py [--streams 1 16 64] [--swaps 20] [--workers 1] [--together] [--out DIR]

A daemon steps streams that come in real time over ZeroMQ, in blocks of 40 ms, and publishes all posteriors; every few
seconds it is told to reload, and finds another file at its model's path. A message's delay counts from the capture of
the last sample of its block to its receipt, its pause is what that exceeds the median of its stream by. Told is the
longest pause of any stream from the request until every stream is heard by the new model; beside it the longest in
spans as long just before, in which nothing is asked, and for how long all threads of daemon, producers and subscriber
waited for a core meanwhile: what the machine is to blame for. With --together all processes share one core.
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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from threading import Thread

import numpy as np
import psutil
from numpy.typing import NDArray

from machine import QUIET, cores
from models import RATE, WORDS
from otolith import Subscriber
from otolith.inference.model import Model
from otolith.wire.control import Request, exchange
from otolith.wire.messages import AnyMessage, GapMessage, PosteriorsMessage
from report import RESULTS, table, write

Floats = NDArray[np.float64]
HERE = Path(__file__).parent
BLOCK_S, HOP_MS = 0.04, 20
WARM_UP_S = 4.0
REST_S = 3.0  # between two reloads: as long as one lasts, and a little more
AFTER_S = 0.2  # behind the last stream's change, for what waited
PATIENCE_S = 30.0
SETTINGS = """
publish = "ipc://{folder}/publish.sock"
control = "{folder}/control"
workers = {workers}
[ingest]
bind = ["zmq+ipc://{folder}/ingest.sock"]
max_streams_per_s = 10000
[[route]]
pattern = "*"
model = "model.onnx"
posteriors_per_s = 1000
"""


@dataclass
class Ear:
    """The subscriber: when each posteriors message came, how far behind its block, and by which model."""

    block: int
    came_s: list[float] = field(default_factory=list)
    behind_s: list[float] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)  # the last of each stream
    lost: int = 0

    def hear(self, message: AnyMessage) -> None:
        if isinstance(message, GapMessage):
            self.lost += message.lost
        elif isinstance(message, PosteriorsMessage):
            self.came_s.append(time.monotonic())
            rest_s = (-message.position % self.block) / RATE  # of the block, behind the message's last sample
            self.behind_s.append((time.time_ns() - message.time_ns) / 1e9 - rest_s)
            self.streams.append(message.stream)
            self.models[message.stream] = message.model

    def pauses_s(self) -> Floats:
        """By how much each message came later than is usual for its stream."""
        behind_s, streams = np.array(self.behind_s), np.array(self.streams)
        for stream in set(self.streams):
            behind_s[streams == stream] -= np.median(behind_s[streams == stream])
        return behind_s


@dataclass(frozen=True)
class Run:
    """What one run gave; pauses are the longest of each reload, and of each span of the same length without one.

    `waited_ms` is how long in each reload daemon, producers and subscriber were ready to run, and did not.
    """

    streams: int
    workers: int
    usual_ms: float
    with_ms: list[float]
    without_ms: list[float]
    waited_ms: list[float]
    lasted_s: float  # a reload, until every stream was heard by the new model; median
    lost: int
    missed: int


def measure(streams: int, swaps: int, workers: int, *, verbose: bool = False) -> Run:
    """One run of a daemon, its producers and this process as its subscriber."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = two_models(folder)
        ear = Ear(round(BLOCK_S * RATE))
        with (
            daemon(folder, workers) as process,
            Subscriber(f"ipc://{folder}/publish.sock") as subscriber,
            producers(folder, streams),
        ):
            hear_until(subscriber, ear, lambda: len(ear.models) == streams)
            hear_for(subscriber, ear, WARM_UP_S)
            spans, waited_ms = [], []
            for number in range(swaps):
                wanted = put(files[(number + 1) % 2], folder)
                hear_for(subscriber, ear, REST_S)
                before_s = waited_s(process)
                spans.append(swap(subscriber, ear, folder, wanted, streams))
                waited_ms.append(round(1000 * (waited_s(process) - before_s), 1))
                hear_for(subscriber, ear, REST_S)
            missed = subscriber.missed
    came_s, pauses_ms = np.array(ear.came_s), 1000 * ear.pauses_s()

    def longest(since_s: float, until_s: float) -> float:
        return round(float(pauses_ms[(came_s >= since_s) & (came_s < until_s)].max(initial=0.0)), 1)

    if verbose:
        tell(spans, came_s, pauses_ms, waited_ms)
    return Run(
        streams=streams,
        workers=workers,
        usual_ms=round(1000 * median(ear.behind_s), 2),
        with_ms=[longest(began_s, ended_s) for began_s, ended_s in spans],
        waited_ms=waited_ms,
        without_ms=[longest(2 * began_s - ended_s, began_s) for began_s, ended_s in spans],
        lasted_s=round(median(ended_s - began_s for began_s, ended_s in spans), 2),
        lost=ear.lost,
        missed=missed,
    )


def two_models(folder: Path) -> list[bytes]:
    """The words that ship, and the same with a word more in its metadata: another digest, and nothing else."""
    content = WORDS.read_bytes()
    entry = b"\x0a\x05bench\x12\x04swap"  # key and value of a StringStringEntryProto
    (folder / "model.onnx").write_bytes(content)
    return [content, content + b"\x72" + bytes([len(entry)]) + entry]  # field 14 of a ModelProto: metadata_props


def put(content: bytes, folder: Path) -> str:
    """Another file in the model's place; its identity."""
    (folder / "next.onnx").write_bytes(content)
    (folder / "next.onnx").replace(folder / "model.onnx")
    return Model.load(content, "next.onnx").identity


def swap(subscriber: Subscriber, ear: Ear, folder: Path, wanted: str, streams: int) -> tuple[float, float]:
    """Reload: from the request until the last stream is heard by `wanted`."""
    answers: list[str] = []
    asking = Thread(target=lambda: answers.append(exchange(folder / "control", Request("reload"), PATIENCE_S).error))
    began_s = time.monotonic()
    asking.start()
    hear_until(subscriber, ear, lambda: list(ear.models.values()).count(wanted) == streams or any(answers))
    if any(answers):
        raise SystemExit(f"the reload was refused: {answers[0]}")
    hear_for(subscriber, ear, AFTER_S)
    asking.join()
    return began_s, time.monotonic()


@contextmanager
def daemon(folder: Path, workers: int) -> Iterator[psutil.Process]:
    settings = folder / "otolith.toml"
    settings.write_text(SETTINGS.format(folder=folder, workers=workers))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "otolith", "run", settings], env=os.environ | QUIET, stderr=log
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def producers(folder: Path, streams: int) -> Iterator[None]:
    """Push for as long as is wanted, and an hour at most."""
    command = [sys.executable, str(HERE / "producers.py"), f"zmq+ipc://{folder}/ingest.sock"]
    command += [str(streams), "3600", str(BLOCK_S)]
    process = subprocess.Popen(command, env=os.environ | QUIET, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def waited_s(daemon: psutil.Process) -> float:
    """For how long threads of the daemon, its workers and of our own and our other children have waited for a core."""
    everyone = [daemon, *daemon.children(), psutil.Process(), *psutil.Process().children()]
    threads = (path for each in set(everyone) for path in Path(f"/proc/{each.pid}/task").glob("*/schedstat"))
    return sum(int(path.read_text().split()[1]) for path in threads) / 1e9


def hear_for(subscriber: Subscriber, ear: Ear, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        if (message := subscriber.receive(left_s)) is not None:
            ear.hear(message)


def hear_until(subscriber: Subscriber, ear: Ear, is_so: Callable[[], bool]) -> None:
    began_s = time.monotonic()
    while not is_so():
        if time.monotonic() - began_s > PATIENCE_S:
            raise SystemExit(f"not within {PATIENCE_S:g} s")
        hear_for(subscriber, ear, 0.02)


def tell(spans: list[tuple[float, float]], came_s: Floats, pauses_ms: Floats, waited_ms: list[float]) -> None:
    """Where in each reload its longest pause lay."""
    for (began_s, ended_s), waited in zip(spans, waited_ms, strict=True):
        inside = np.flatnonzero((came_s >= began_s) & (came_s < ended_s))
        last = inside[pauses_ms[inside].argmax()]
        when = f"{came_s[last] - began_s:.2f} s of {ended_s - began_s:.2f} behind the request"
        print(f"{pauses_ms[last]:6.1f} ms, {when}; all waited {waited:.0f} ms for a core", file=sys.stderr)


def rows_of(runs: list[Run]) -> str:
    """Three figures are median, 95th percentile and worst, in milliseconds."""
    head = ["streams", "usual delay", "a reload lasts, s", "its longest pause", "worst in hops"]
    head += ["of as long without", "waited for a core", "samples lost", "messages missed"]
    rows = []
    for run in runs:
        hops = f"{max(run.with_ms) / HOP_MS:.1f}"
        pauses = [in_three(run.with_ms), hops, in_three(run.without_ms), in_three(run.waited_ms)]
        rows.append([run.streams, run.usual_ms, run.lasted_s, *pauses, run.lost, run.missed])
    return table(head, rows)


def in_three(values: list[float]) -> str:
    half, most, worst = np.percentile(values, [50, 95, 100])
    return f"{half:.1f} / {most:.1f} / {worst:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--together", action="store_true", help="all on one core")
    parser.add_argument("--verbose", action="store_true", help="tell where in each reload its longest pause lay")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.together:
        os.sched_setaffinity(0, {cores()[0]})
    runs = [measure(n, arguments.swaps, arguments.workers, verbose=arguments.verbose) for n in arguments.streams]
    title = f"A model swapped under load, {arguments.swaps} times, {arguments.workers} worker(s)"
    write(arguments.out, "swap", title, {"swap": [asdict(run) for run in runs]}, rows_of(runs))


if __name__ == "__main__":
    main()
