"""Series: rows to be forecast, in whatever layout a set has, with no labels and each subject in one split."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from otolith_training.data.series import list_series
from otolith_training.recipe import Recipe
from otolith_training.recipe_file import parse_recipe
from tests.training.small_forecast import FORECAST, rhythm

ROWS = "rows = { train = [0, 400], dev = [400, 500], test = [500, 600] }"


def recipe_of(files: str = "[]") -> Recipe:
    return parse_recipe(FORECAST.replace(ROWS, f'files = {files}\ndev = ["b"]\ntest = ["c"]'), "small.toml")


def test_packed_runs_need_no_labels_and_are_split_by_subject(tmp_path: Path) -> None:
    (tmp_path / "meter").mkdir()
    np.savez(
        tmp_path / "meter" / "all.npz",
        X=np.pad(rhythm(60), ((0, 0), (1, 0))),
        offsets=np.array([0, 30, 45, 60]),
        channels=np.array(["other", "load", "heat"]),
        subject=np.array(["a", "b", "c"]),
    )
    series = list_series(recipe_of('["all.npz"]'), tmp_path)
    assert [(run.group, run.split, run.labels) for run in series] == [
        ("a", "train", ()), ("b", "dev", ()), ("c", "test", ()),
    ]  # fmt: skip
    np.testing.assert_array_equal(np.concatenate([run.values for run in series]), rhythm(60))


def test_a_manifest_names_the_subjects_of_series(tmp_path: Path) -> None:
    (tmp_path / "meter").mkdir()
    rows = [f"{hour * 3600},{load},{heat}" for hour, (load, heat) in enumerate(rhythm(5).tolist())]
    names = [f"{subject}.csv" for subject in "abc"]
    for name in names:
        (tmp_path / "meter" / name).write_text("\n".join(["t,load,heat", *rows]) + "\n")
    with (tmp_path / "meter" / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "subject"], *([name, name[0]] for name in names)])
    assert {run.name: run.split for run in list_series(recipe_of(), tmp_path)} == {
        "a.csv": "train", "b.csv": "dev", "c.csv": "test",
    }  # fmt: skip
