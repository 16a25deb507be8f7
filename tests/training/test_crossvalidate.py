"""Cross-validation, whole and small: three subjects, a model each that never met one of them."""

from __future__ import annotations

import json
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from otolith.errors import OtolithError, UsageError
from otolith_training import course
from otolith_training import crossvalidate as crossvalidation
from otolith_training.cli import crossvalidate as command
from otolith_training.crossvalidate import crossvalidate, mean_of, print_crossvalidation
from otolith_training.learner import Learner
from otolith_training.measure.evaluate import evaluate
from tests.training.small import DATA, MOTION, SOUND


def run(folder: Path, text: str = MOTION, folds: int | None = None, seed: int | None = None) -> dict[str, Any]:
    (folder / "recipe.toml").write_text(text)
    return crossvalidate(
        folder / "recipe.toml", DATA, folder / "folds", folds, folds is None, seed, Console(file=StringIO())
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which each of the three subjects was left out once."""
    folder = tmp_path_factory.mktemp("trained")
    run(folder)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, to do with as one likes."""
    return shutil.copytree(trained, tmp_path / "copy")


def figures_in(folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((folder / "folds" / "crossvalidation.json").read_text())
    return figures


def test_every_subject_is_measured_by_a_model_that_never_met_it(trained: Path) -> None:
    left_out = figures_in(trained)
    assert sorted(group for fold in left_out["folds"] for group in fold["test"]) == ["s01", "s15", "s22"]
    assert [fold["rows"] for fold in left_out["folds"]] == [600] * 3
    assert left_out["pooled"]["rows"] == 1800
    assert left_out["pooled"]["interval_over"] == {"unit": "subject", "count": 3}
    for fold in left_out["folds"]:
        assert left_out["pooled"]["per_group"][fold["test"][0]]["accuracy"] == pytest.approx(fold["accuracy"])


def test_a_folds_model_is_evaluated_on_who_was_held_out_from_it(trained: Path) -> None:
    for fold in figures_in(trained)["folds"]:
        figures = evaluate(trained / "folds" / fold["file"], DATA / "motion")
        assert list(figures["per_group"]) == fold["test"]
        assert figures["accuracy"] == fold["accuracy"]


def test_the_same_command_trains_only_what_is_missing_or_broken(folder: Path) -> None:
    first = figures_in(folder)
    (folder / "folds" / first["folds"][1]["file"]).unlink()
    (folder / "folds" / first["folds"][2]["file"]).write_bytes(b"no model")
    again = run(folder)
    assert [fold["trained"] for fold in again["folds"]] == [False, True, True]
    assert again["pooled"] == first["pooled"]


def test_another_seed_or_recipe_is_another_training(folder: Path) -> None:
    assert all(fold["trained"] for fold in run(folder, seed=9)["folds"])
    assert all(fold["trained"] for fold in run(folder, MOTION.replace("hidden = 4", "hidden = 5"), seed=9)["folds"])


def test_clips_are_folded_by_speaker_whatever_their_manifest_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "REHEARSAL_S", 4.0)
    figures = run(tmp_path, SOUND, folds=2)
    assert sorted(fold["clips"] for fold in figures["folds"]) == [4, 5]
    assert figures["pooled"]["clips"] == 9
    said = StringIO()
    print_crossvalidation(figures, Console(file=said, width=120))
    assert "test of 2 folds, 9 clips" in said.getvalue()
    assert "mean" in said.getvalue()


def test_ctrl_c_leaves_no_fold_that_would_pass_for_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Learner, "learn", pressed)
    with pytest.raises(OtolithError, match="interrupted in fold 1 of 3; the same command goes on with that fold"):
        run(tmp_path)
    assert not list((tmp_path / "folds").glob("*.onnx"))


def test_folds_are_asked_for_in_one_way(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ask for either"):
        crossvalidate(tmp_path / "x.toml", DATA, None, 5, True, None, Console())


def test_the_mean_counts_each_fold_alike() -> None:
    folds = [{"accuracy": a, "macro_f1": 0.5, "rows": rows} for a, rows in ((0.5, 10), (0.7, 1000))]
    means = mean_of(folds)
    assert means["accuracy"] == pytest.approx(0.6)
    assert means["accuracy_deviation"] == pytest.approx(0.02**0.5)


def test_the_command_prints_json_or_a_table(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = figures_in(trained)
    monkeypatch.setattr(crossvalidation, "crossvalidate", lambda *_: figures)
    said = CliRunner().invoke(command, ["r.toml", "--leave-one-out", "--json"])
    assert json.loads(said.stdout)["pooled"]["rows"] == 1800
    assert "test of 3 folds, 1,800 rows" in CliRunner().invoke(command, ["r.toml", "--leave-one-out"]).stdout
