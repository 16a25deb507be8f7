"""What one row costs a stream that watches for anomalies: forecast, score, decision.

    python bench/anomaly.py [--rounds 5] [--rows 2000] [--model FILE]

One series, a row a step, through the same engine as sound (`Seat.push`, `Engine.step`); then 64 series in one batch.
CPU time of one core. Without a model: one channel, look-back and horizon of 96 rows, as `recipes/nab.toml` makes it,
and the same with a decoder that was taught, which the file then holds too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from machine import QUIET, cores, describe, in_words

os.environ.update(QUIET)

import numpy as np

from otolith.inference.engine import Engine
from otolith.inference.model import Model
from report import Figure, table

RECIPE = Path(__file__).parent.parent / "training" / "otolith_training" / "recipes" / "nab.toml"


def made(folder: Path, *, taught: bool) -> Model:
    """A model of the benchmark's recipe; `taught`: its decoder says something."""
    import torch

    from otolith_training.network.cards import make_card
    from otolith_training.network.export import export
    from otolith_training.network.network import make_network
    from otolith_training.recipe_file import read_recipe

    recipe, text = read_recipe(RECIPE)
    torch.manual_seed(0)
    network = make_network(recipe)
    with torch.no_grad():
        for parameter in network.head.parameters() if taught else ():
            parameter.add_(torch.randn(parameter.shape) * 0.01)
    return export(network, make_card(recipe, text), [], folder / f"{'taught' if taught else 'linear'}.onnx")


def step_us(model: Model, streams: int, rows: int) -> float:
    """Microseconds of processor time a row a stream."""
    engine = Engine(model)
    seats = [engine.add() for _ in range(streams)]
    values = np.random.default_rng(0).standard_normal((rows, 1, len(model.card.channels))).astype(np.float32)
    began = 0.0
    for number, row in enumerate(values):
        if number == rows // 10:
            began = time.process_time()
        for seat in seats:
            seat.push(row)
        engine.step()
    return (time.process_time() - began) / (rows - rows // 10) / streams * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {cores()[0]})
    with tempfile.TemporaryDirectory() as folder:
        if arguments.model:
            models = {"model": Model.open(arguments.model)}
        else:
            models = {"linear path": made(Path(folder), taught=False), "with decoder": made(Path(folder), taught=True)}
        taken: dict[tuple[str, int], list[float]] = {(name, streams): [] for name in models for streams in (1, 64)}
        for _ in range(arguments.rounds):
            for (name, streams), figures in taken.items():
                rows = arguments.rows if streams == 1 else arguments.rows // 10
                figures.append(step_us(models[name], streams, rows))
    told = [(name, streams, Figure.of(figures)) for (name, streams), figures in taken.items()]
    print(table(("model", "series", "us a row, each"), told))
    print(in_words(describe()))


if __name__ == "__main__":
    main()
