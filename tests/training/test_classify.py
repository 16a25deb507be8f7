"""One label for a whole clip or run: trained, exported, and told by the daemon's stream."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from otolith.errors import OtolithError
from otolith.inference.card import Utterance
from otolith.inference.model import Model
from otolith_training.measure.evaluate import evaluate
from otolith_training.train import train
from tests.processes import json_lines, run_otolith
from tests.training.small import DATA, MOTION, SOUND, changed

CLIPS = changed(SOUND, {"task": '"classify"'}).replace(
    'type = "clips"\nreverb = 0.2',
    'type = "utterances"\nknown_after = 0.7\nsilence_s = 0.2\nspeed = [0.9, 1.1]\nsnr_db = [20.0, 40.0]',
)
RUNS = """
name = "small-runs"
task = "classify"

[data]
kind = "sensor"
path = "runs"
name = "runs made up"
licence = "none"
attribution = "nobody"
labels = ["rising", "falling"]

[frontend]
type = "sensor"
sample_rate = 50.0
channels = [{ name = "height", unit = "m" }]

[network]
layers = 1
hidden = 4
pool = ["mean", "last"]

[streams]
type = "utterances"
jitter = 0.1
speed = [0.9, 1.1]

[training]
batch = 8
epochs = 3
steps_per_epoch = 15
chunk_frames = 60
learning_rate = 0.03
"""


def run(text: str, data: Path, folder: Path) -> Model:
    (folder / "recipe.toml").write_text(text)
    return train(folder / "recipe.toml", data, folder / "small.onnx", None, Console(file=StringIO()))


def write_runs(folder: Path) -> Path:
    """Heights that rise or fall, half a second or more of each."""
    random = np.random.default_rng(0)
    (folder / "runs").mkdir()
    rows = ["file,label"]
    for number in range(40):
        label, length = ("rising", "falling")[number % 2], int(random.integers(25, 50))
        heights = np.linspace(0, 1 if label == "rising" else -1, length) + random.normal(0, 0.05, length)
        lines = [f"{index / 50:.2f},{height:.4f}" for index, height in enumerate(heights)]
        (folder / "runs" / f"{number}.csv").write_text("\n".join(["t,height", *lines]) + "\n")
        rows.append(f"{number}.csv,{label}")
    (folder / "runs" / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_clips_become_a_model_that_tells_one_label_of_each(tmp_path: Path) -> None:
    model = run(CLIPS, DATA, tmp_path)
    card = model.card
    assert (card.task, card.detector, card.utterance) == ("classify", {}, Utterance(0.2, -40.0))
    assert card.metrics["test"]["clips"] == 2
    figures = evaluate(tmp_path / "small.onnx", DATA / "clips")
    assert figures["clips"] == 2
    code, out, _ = run_otolith("infer", tmp_path / "small.onnx", next((DATA / "clips").glob("yes/*")), "--json")
    assert code == 0
    assert {m["kind"] for m in json_lines(out)} >= {"posteriors"}


def test_runs_are_told_apart_by_what_they_were_on_the_whole(tmp_path: Path) -> None:
    run(RUNS, write_runs(tmp_path), tmp_path)
    figures = evaluate(tmp_path / "small.onnx", tmp_path / "runs")
    assert figures["runs"] > 2
    assert figures["accuracy"] > 0.8
    code, out, _ = run_otolith("infer", tmp_path / "small.onnx", tmp_path / "runs" / "0.csv", "--json")
    assert code == 0
    told = [m for m in json_lines(out) if m["kind"] == "detection"]
    assert [(m["label"], m["phase"]) for m in told] == [("rising", "start"), ("rising", "end")]


def test_a_run_of_several_labels_is_refused(tmp_path: Path) -> None:
    text = changed(MOTION, {"task": '"classify"'}).replace('type = "runs"', 'type = "utterances"')
    with pytest.raises(OtolithError, match=r"has \d labels .* an utterance has one"):
        run(text, DATA, tmp_path)
