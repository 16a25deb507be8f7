"""Our own network as those run theirs who keep no state: one second of sound again at each hop. Options: MODEL FRAMES.

mycroft-precise does so (it keeps its features, though, and runs only its network again).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from otolith.inference.framing import to_floats
from otolith.inference.model import Model
from peers.contest import RATE, Hear, compete

HOP = 320
WINDOW_FRAMES = RATE // HOP
BATCH = 64


def make(streams: int, options: list[str]) -> Hear:
    model = Model.open(options[0])
    assert (model.card.sample_rate, model.card.hop_length) == (RATE, HOP)
    frames = int(options[1])
    windows = np.zeros((streams, WINDOW_FRAMES, HOP), np.float32)

    def hear(chunks: Sequence[bytes]) -> None:
        windows[:, :-frames] = windows[:, frames:]
        for window, chunk in zip(windows, chunks, strict=True):
            window[-frames:] = to_floats(np.frombuffer(chunk, "<i2")).reshape(frames, HOP)
        for start in range(0, streams, BATCH):
            batch = windows[start : start + BATCH]
            model.step(batch, model.fresh_state(len(batch)))

    return hear


if __name__ == "__main__":
    compete(version("otolith"), int(sys.argv[5]) * HOP, make, "the same network, one second run again at each hop")
