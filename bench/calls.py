"""What a model file weighs, and what a call costs before anything is computed.

    python bench/calls.py [--rounds 5] [--seconds 0.3] [--out DIR]

One stream, one frame: `Model.step` (arrays made for each call), the same bound once, and the runtime alone on a graph
that does nothing. Rounds are interleaved.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from machine import QUIET, cores

os.environ.update(QUIET)

import numpy as np
import onnx

from hot import cpu_s_of
from models import WORDS, make_gru_64
from otolith.inference.model import Model
from otolith.inference.runtime import open_session
from report import RESULTS, Figure, table, write

NOTHING = "a graph that does nothing"


def nothing() -> Callable[[], object]:
    """A call whose whole cost is the call's."""
    given, taken = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "nothing", [given], [taken])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10)
    session, inputs = open_session(made.SerializeToString()), {"x": np.zeros(1, np.float32)}
    return lambda: session.run(None, inputs)


def steps(model: Model) -> dict[str, Callable[[], object]]:
    """One frame of one stream, both ways."""
    frames = np.random.default_rng(0).uniform(-0.1, 0.1, (1, 1, *model.card.frame_shape)).astype(np.float32)
    state, posteriors = model.fresh_state(), np.zeros((1, 1, len(model.card.labels)), np.float32)
    bound = model.bind(frames, state, posteriors, model.fresh_state())
    return {"Model.step": lambda: model.step(frames, state), "bound": bound.step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {cores()[0]})
    with tempfile.TemporaryDirectory() as folder:
        files = [make_gru_64(Path(folder)), WORDS, WORDS.with_name("motion.onnx")]
        works = {(NOTHING, "run"): nothing()}
        works |= {(file.stem, way): work for file in files for way, work in steps(Model.open(file)).items()}
        sizes = {file.stem: (file.stat().st_size, len(onnx.load(file).graph.node)) for file in files}
    costs: dict[tuple[str, str], list[float]] = {key: [] for key in works}
    for _ in range(arguments.rounds):
        for key, work in works.items():
            costs[key].append(1e6 * cpu_s_of(work, arguments.seconds))
    figures = {key: Figure.of(values) for key, values in costs.items()}
    text = table(["file", "bytes", "nodes"], [[name, f"{size:,}", nodes] for name, (size, nodes) in sizes.items()])
    text += "\n" + table(["one frame", "call", "CPU us"], [[*key, figure] for key, figure in figures.items()])
    told = [{"of": of, "call": call, **asdict(figure)} for (of, call), figure in figures.items()]
    write(arguments.out, "calls", "Files and calls", {"sizes": sizes, "cpu_us": told}, text)


if __name__ == "__main__":
    main()
