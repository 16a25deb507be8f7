"""The cost of a step: what a frame takes in the runtime, alone and in company."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import numpy as np

from otolith.inference.model import Bound, Model
from otolith.inference.proof import proof_input

ROUNDS = 15
ROUND_S = 0.04
STREAMS = (1, 64)  # alone, and the engine's largest batch


def step_costs_us(models: Mapping[str, Model]) -> dict[str, dict[int, float]]:
    """Microseconds of processor time that a frame of a stream takes, by model and by how many streams are stepped.

    One frame a bound call, the front end with it. Medians of rounds in which all models take their turns, so that
    whatever else the machine does meets all of them.
    """
    bound = {(name, streams): _bind(model, streams) for name, model in models.items() for streams in STREAMS}
    seen: dict[tuple[str, int], list[float]] = {each: [] for each in bound}
    for _ in range(ROUNDS):
        for (name, streams), call in bound.items():
            seen[name, streams].append(1e6 * _seconds_a_call(call) / streams)
    return {name: {streams: statistics.median(seen[name, streams]) for streams in STREAMS} for name in models}


def _bind(model: Model, streams: int) -> Bound:
    card = model.card
    frames = proof_input(1, card.proof.scale, (streams, 1, *card.frame_shape))
    outputs = np.zeros((streams, 1, *card.output_shape), np.float32)
    return model.bind(frames, model.fresh_state(streams), outputs, model.fresh_state(streams))


def _seconds_a_call(bound: Bound) -> float:
    calls, began = 0, time.process_time()
    while (spent := time.process_time() - began) < ROUND_S:
        for _ in range(20):
            bound.step()
        calls += 20
    return spent / calls
