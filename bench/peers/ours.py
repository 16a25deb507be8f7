"""otolith's engine, in process: from int16 bytes to detections. Options: MODEL FRAMES_PER_STEP."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from otolith.inference.engine import Engine
from otolith.inference.model import Model
from peers.contest import RATE, Hear, compete

HOP = 320


def make(streams: int, options: list[str]) -> Hear:
    model = Model.open(options[0])
    assert (model.card.sample_rate, model.card.hop_length) == (RATE, HOP)
    engine = Engine(model, frames_per_step=int(options[1]))
    seats = [engine.add() for _ in range(streams)]

    def hear(chunks: Sequence[bytes]) -> None:
        for seat, chunk in zip(seats, chunks, strict=True):
            seat.push(np.frombuffer(chunk, "<i2"))
        engine.step()

    return hear


if __name__ == "__main__":
    compete(version("otolith"), int(sys.argv[5]) * HOP, make)
