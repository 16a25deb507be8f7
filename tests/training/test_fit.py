"""The fit: a training that was stopped, however, goes on to the weights of one that never was."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from otolith.errors import OtolithError
from otolith_training import course
from otolith_training.data.composer import Chunk
from otolith_training.data.material import list_items
from otolith_training.fit import fit
from otolith_training.learner import Learner, Step
from otolith_training.recipe_file import parse_recipe
from otolith_training.train import train
from tests.processes import OTOLITH
from tests.training.small import DATA, MOTION, SOUND, changed

LONG_MOTION = changed(MOTION, {"epochs": "8", "steps_per_epoch": "8"})
DISTORTED = "0.2\nvocal_tract = 0.1\n[[streams.augmentations]]\ntype = 'TanhDistortion'\np = 0.5"
MUON = '3\noptimizer = "muon"'
LONG_SOUND = changed(SOUND, {"epochs": MUON, "layers": "1\ndropout = 0.3", "reverb": DISTORTED})
RUNAWAY = changed(MOTION, {"steps_per_epoch": "60\nlearning_rate = 10.0\nweight_decay = 10.0"})

Outcome = tuple[dict[str, Any], list[dict[str, Any]]]


def run(folder: Path, text: str, *, resume: bool = False, seed: int | None = None) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(text)
    said = StringIO()
    console = Console(file=said, width=400)
    train(folder / "recipe.toml", DATA, folder / "small.onnx", seed, console, resume=resume)
    return said.getvalue()


def outcome(folder: Path) -> Outcome:
    """All that the last checkpoint holds but the seconds, and the logged epochs without theirs."""
    logbook = max((folder / "small.runs").iterdir())
    kept = torch.load(logbook / "checkpoint.pt", weights_only=True)
    lines = [json.loads(line) for line in (logbook / "metrics.jsonl").read_text().splitlines()]
    for record in [*lines, *kept["history"]]:
        del record["seconds"]
    return kept, lines


def assert_the_same(one: Any, other: Any, where: str = "") -> None:
    """Nested values, equal to the last bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_the_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (mine, its) in enumerate(zip(one, other, strict=True)):
            assert_the_same(mine, its, f"{where}[{number}]")
    else:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other), where)


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    """Raise in the middle of learning, once."""
    learn, steps = Learner.learn, 0

    def learn_or_stop(learner: Learner, chunk: Chunk) -> Step:
        nonlocal steps
        steps += 1
        if steps == number:
            raise error
        return learn(learner, chunk)

    monkeypatch.setattr(Learner, "learn", learn_or_stop)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What comes of the long motion recipe where nothing stops it."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, LONG_MOTION)
    return outcome(folder)


def test_killed_and_resumed_it_comes_to_the_same_weights(tmp_path: Path, whole: Outcome) -> None:
    (tmp_path / "recipe.toml").write_text(LONG_MOTION)
    command = [*OTOLITH, "train", "recipe.toml", "--data", str(DATA), "--out", "small.onnx"]
    metrics = tmp_path / "small.runs" / "001" / "metrics.jsonl"
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        while not (metrics.exists() and metrics.read_bytes()):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert len(metrics.read_text().splitlines()) < 8
    said = run(tmp_path, LONG_MOTION, resume=True)
    assert "going on with" in said
    assert "epoch   1/8" not in said
    assert_the_same(outcome(tmp_path), whole)


def test_after_ctrl_c_it_goes_on_in_the_same_folder(
    tmp_path: Path, whole: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, 20, KeyboardInterrupt())
        assert "with --resume goes on" in run(tmp_path, LONG_MOTION)
    run(tmp_path, LONG_MOTION, resume=True)
    assert_the_same(outcome(tmp_path), whole)
    assert [folder.name for folder in (tmp_path / "small.runs").iterdir()] == ["001"]


@pytest.mark.parametrize("step", [1, 8], ids="stopped in step {}".format)
def test_sound_with_all_its_chances_is_resumed_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(course, "REHEARSAL_S", 4.0)
    recipe = parse_recipe(LONG_SOUND, "small.toml")
    items = list_items(recipe, DATA)

    def fit_into(name: str, *, resume: bool = False) -> None:
        fit(recipe, LONG_SOUND, items, DATA, tmp_path / name / "small.runs", Console(file=StringIO()), resume=resume)

    fit_into("whole")
    with monkeypatch.context() as patch:
        stop_at(patch, step, RuntimeError("pulled the plug"))
        with pytest.raises(RuntimeError):
            fit_into("stopped")
    fit_into("stopped", resume=True)
    assert_the_same(outcome(tmp_path / "stopped"), outcome(tmp_path / "whole"))


@pytest.mark.parametrize("text", [SOUND, MOTION], ids=["sound", "motion"])
def test_a_network_that_looks_ahead_learns_and_is_rehearsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(course, "REHEARSAL_S", 4.0)
    text = changed(text, {"hidden": "4\nbidirectional = true", "steps_per_epoch": "10"})
    recipe = parse_recipe(text, "small.toml")
    fitted = fit(recipe, text, list_items(recipe, DATA), DATA, tmp_path / "small.runs", Console(file=StringIO()))
    assert fitted.epoch == 1
    assert fitted.network.recurrent[0].bidirectional
    assert 0 < fitted.metrics["score"] <= 1


def test_a_finished_training_is_exported_again_and_a_new_one_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    run(tmp_path, MOTION)
    first = outcome(tmp_path)
    (tmp_path / "small.onnx").unlink()
    assert "epoch   1/1" not in run(tmp_path, MOTION, resume=True)
    assert (tmp_path / "small.onnx").exists()
    run(tmp_path, MOTION, seed=2)
    assert sorted(folder.name for folder in (tmp_path / "small.runs").iterdir()) == ["001", "002"]
    assert not torch.equal(outcome(tmp_path)[0]["weights"]["head.weight"], first[0]["weights"]["head.weight"])


def test_with_nothing_to_go_on_from_it_begins(tmp_path: Path) -> None:
    assert "holds nothing to go on from" in run(tmp_path, MOTION, resume=True)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    run(tmp_path, MOTION)
    with pytest.raises(OtolithError, match=r"checkpoint\.pt: was learned with another recipe; put back"):
        run(tmp_path, changed(MOTION, {"hidden": "5"}), resume=True)
    with pytest.raises(OtolithError, match="another seed;"):
        run(tmp_path, MOTION, resume=True, seed=2)
    with pytest.raises(OtolithError, match="another recipe and another recordings;"):
        run(tmp_path, changed(MOTION, {"test": '["s01"]'}), resume=True)
    run(tmp_path, f"# a remark changes nothing\n{MOTION}", resume=True)


def test_a_loss_that_is_no_number_stops_with_the_batch_and_leaves_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(OtolithError) as stopped:
        run(tmp_path, RUNAWAY)
    said = str(stopped.value)
    assert said.startswith("epoch 1, step ")
    assert "lower training.learning_rate" in said
    (batch,) = (tmp_path / "small.runs" / "001").glob("batch-1-*.npz")
    with np.load(batch) as kept:
        assert {name: kept[name].shape for name in kept.files} == {
            "frames": (4, 50, 6),
            "allowed": (4, 50, 4),
            "fresh": (4,),
        }
    weights = outcome(tmp_path)[0]["weights"]
    assert all(value.isfinite().all() for value in weights.values())
