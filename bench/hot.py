"""The engine alone in a hot loop: CPU seconds for a second of sound, and how much of it is the runtime's.

    python bench/hot.py [--model FILE ...] [--repeats 5] [--seconds 0.5] [--json]

The whole path, from int16 bytes to detections, of as many streams as told; beside it what the runtime alone takes for
the same frames, so that the rest is ours. Without --model: the words that ship, and a GRU of 64 units on 40 MFCC with
random weights (that needs the training extra). Told are medians and ranges.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from models import SOUND, WORDS, make_gru_64
from otolith.inference.engine import Engine, Seat
from otolith.inference.model import Model
from otolith.recordings import load_audio

STREAMS = (1, 8, 64, 512, 2000)
FRAMES_PER_STEP = (1, 4)


class Microphones:
    """So many streams, each hearing the same recording from a place of its own, a block of int16 bytes at a time."""

    def __init__(self, model: Model, streams: int, frames: int) -> None:
        self.engine = Engine(model, frames_per_step=frames)
        self.seats: list[Seat] = [self.engine.add() for _ in range(streams)]
        self.block_s = frames / model.card.frame_rate
        length = 2 * frames * model.card.hop_length
        sound = (load_audio(SOUND, round(model.card.sample_rate)) * 32767).astype("<i2").tobytes()
        self._blocks = [sound[at : at + length] for at in range(0, len(sound) - length, length)]
        self._round = 0

    def hear(self) -> None:
        """One block of every stream, and one step."""
        self._round += 1
        for number, seat in enumerate(self.seats):
            seat.push(np.frombuffer(self._blocks[(self._round + 37 * number) % len(self._blocks)], "<i2"))
        self.engine.step()


def cpu_s_of(work: Callable[[], object], seconds: float) -> float:
    """CPU seconds of one piece of work, in a loop of about `seconds`."""
    work()
    rounds, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds:
        work()
        rounds += 1
    return spent / rounds


def runtime_alone(model: Model, streams: int, frames: int) -> Callable[[], None]:
    """The same frames in the same batches, with nothing around them."""
    count = min(streams, 64)
    inputs = np.random.default_rng(0).uniform(-0.1, 0.1, (count, frames, model.card.hop_length)).astype(np.float32)
    outputs = np.zeros((count, frames, len(model.card.labels)), np.float32)
    bound = model.bind(inputs, model.fresh_state(count), outputs, model.fresh_state(count))

    def step() -> None:
        for _ in range(streams // count):
            bound.step()

    return step


def measure(model: Model, repeats: int, seconds: float) -> list[dict[str, object]]:
    """A row for each number of streams and frames a call; repeats are interleaved."""
    grid = [(streams, frames) for streams in STREAMS for frames in FRAMES_PER_STEP]
    heard = {each: Microphones(model, *each) for each in grid}
    costs: dict[tuple[int, int], list[tuple[float, float]]] = {each: [] for each in grid}
    for _ in range(repeats):
        for streams, frames in grid:
            sound_s = streams * heard[streams, frames].block_s
            ours = cpu_s_of(heard[streams, frames].hear, seconds) / sound_s
            alone = cpu_s_of(runtime_alone(model, streams, frames), seconds) / sound_s
            costs[streams, frames].append((ours, alone))
    rows: list[dict[str, object]] = []
    for (streams, frames), pairs in costs.items():
        ours = [pair[0] for pair in pairs]
        rows.append(
            {
                "streams": streams,
                "frames": frames,
                "median": statistics.median(ours),
                "min": min(ours),
                "max": max(ours),
                "runtime_alone": statistics.median(pair[1] for pair in pairs),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for file in arguments.model or [WORDS, make_gru_64(Path(folder))]:
            model = Model.open(file)
            rows = measure(model, arguments.repeats, arguments.seconds)
            if arguments.json:
                machine = platform.processor() or platform.machine()
                print(json.dumps({"machine": machine, "model": model.identity, "hot": rows}))
                continue
            print(f"{model.identity}: CPU s for a second of sound")
            for row in rows:
                print(
                    "{streams:5} x {frames}   median {median:.6f}   from {min:.6f} to {max:.6f}   "
                    "runtime alone {runtime_alone:.6f}".format(**row)
                )


if __name__ == "__main__":
    main()
