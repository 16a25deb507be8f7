"""Data: layouts, splits, fingerprints, and what is said of folders that cannot be learned from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from otolith.errors import OtolithError, RecordingError
from otolith_training.data.datasets import (
    fingerprint,
    map_label,
    read_clips,
    read_runs,
    require_labels,
)
from otolith_training.data.material import list_clips, split_background
from otolith_training.data.splits import assign_splits
from tests.training.small import DATA, sound_recipe

CHANNELS = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]


def packed(path: Path, **changes: object) -> Path:
    arrays = {
        "X": np.zeros((10, 2), np.float32),
        "y": np.array([0] * 5 + [1] * 5),
        "offsets": np.array([0, 4, 10]),
        "subject": np.array(["s1", "s2"]),
        "labels": np.array(["SEATED", "WALKING"]),
        "channels": np.array(["acc_x", "acc_y"]),
    }
    np.savez(path, **{name: np.asarray(value) for name, value in {**arrays, **changes}.items() if value is not None})
    return path


def test_a_manifest_gives_label_speaker_and_split() -> None:
    clips = read_clips(DATA / "clips")
    assert len(clips) == 9
    first = next(c for c in clips if c.name == "yes/6f2f57c1_nohash_3.flac")
    assert (first.label, first.group, first.split) == ("yes", "6f2f57c1", "train")


def test_a_folder_a_label_needs_no_manifest(tmp_path: Path) -> None:
    shutil.copytree(DATA / "clips", tmp_path / "clips")
    (tmp_path / "clips" / "manifest.csv").unlink()
    clips = read_clips(tmp_path / "clips")
    assert {c.label for c in clips} == {"yes", "no", "_unknown_"}
    assert {c.split for c in assign_splits(clips)} <= {"train", "dev", "test"}


def test_the_end_of_a_long_background_is_never_trained_on() -> None:
    long = np.arange(40 * 100, dtype=np.float32)
    parts = split_background("dishes.flac", long, rate=100)
    assert parts["train"].max() < 0.7 * len(long) <= parts["dev"].min() < parts["test"].min()
    assert sum(len(part) for part in parts.values()) == len(long)


def test_runs_come_from_csv_with_their_subjects() -> None:
    runs = read_runs(DATA / "motion", CHANNELS, 100.0)
    assert [run.group for run in runs] == ["s01", "s15", "s22"]
    assert runs[0].values.shape == (600, 6)
    assert len(runs[0].labels) == 600


def test_runs_come_from_packed_files(tmp_path: Path) -> None:
    runs = read_runs(packed(tmp_path / "set.npz"), ["acc_y", "acc_x"], 100.0)
    assert [(len(run.values), run.group) for run in runs] == [(4, "s1"), (6, "s2")]
    assert runs[1].labels == ("SEATED", "WALKING", "WALKING", "WALKING", "WALKING", "WALKING")


def test_a_packed_file_of_windows_is_a_run_a_window_and_named_after_its_split(tmp_path: Path) -> None:
    windows = np.arange(16, dtype=np.float32).reshape(2, 4, 2)
    path = packed(tmp_path / "train.npz", X=windows, y=np.array([1, 0]), offsets=None)
    runs = read_runs(path, ["acc_x", "acc_y"], 100.0)
    assert [run.labels for run in runs] == [("WALKING",) * 4, ("SEATED",) * 4]
    assert [(run.group, run.split) for run in runs] == [("s1", "train"), ("s2", "train")]
    np.testing.assert_array_equal([run.values for run in runs], windows)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"X": np.zeros((10, 4, 2), np.float32), "y": np.array([0]), "offsets": None}, "a window has one label"),
        ({"offsets": None}, "has no array offsets"),
        ({"channels": np.array(["acc_x", "acc_z"])}, "has no channel acc_y"),
        ({"X": np.full((10, 2), np.nan, np.float32)}, "row 0 holds what is not a number"),
        ({"t_ms": np.array([0, 2, 1, 3, 0, 1, 2, 3, 4, 5])}, "time runs backwards"),
        ({"labels": np.array([{"pickled": 1}])}, "cannot be read as a packed set"),
    ],
)
def test_a_packed_file_that_does_not_hold_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(RecordingError, match=said):
        read_runs(packed(tmp_path / "set.npz", **changes), ["acc_x", "acc_y"], 100.0)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("t,acc_x,label\n0,1,A\n0.01,2,A\n", "has no column acc_y"),
        ("t,acc_x,acc_y,label\n0,1,1,A\n0.01,loud,1,A\n", "row 2, column acc_x: 'loud' is not a number"),
        ("t,acc_x,acc_y,label\n0.01,1,1,A\n0.0,1,1,A\n", "time runs backwards"),
        ("t,acc_x,acc_y,label\n0,1,1,A\n0.02,1,1,A\n", "50 rows a second where 100 are expected"),
        ("t,acc_x,acc_y\n0,1,1\n0.01,1,1\n", "has no column label"),
    ],
)
def test_a_sensor_file_that_does_not_hold_is_refused(tmp_path: Path, rows: str, said: str) -> None:
    (tmp_path / "run.csv").write_text(rows)
    with pytest.raises(RecordingError, match=said):
        read_runs(tmp_path, ["acc_x", "acc_y"], 100.0)


def test_a_manifest_that_names_missing_files_counts_them_and_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("file,label\na.wav,yes\nb.wav,no\n")
    with pytest.raises(OtolithError, match=r"names 2 of 2 files that are not there, the first 'a\.wav'"):
        read_clips(tmp_path)


@pytest.mark.parametrize("name", ["../secret.wav", "a/../../secret.wav", "{folder}/secret.wav"])
def test_a_manifest_that_names_files_outside_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").mkdir()
    (tmp_path / "secret.wav").touch()
    (tmp_path / "set" / "manifest.csv").write_text(f"file,label\n{name.format(folder=tmp_path)},yes\n")
    with pytest.raises(OtolithError, match="names 1 of 1 files outside of its folder, the first"):
        read_clips(tmp_path / "set")


def test_no_folder_no_files_and_one_label_are_each_said(tmp_path: Path) -> None:
    with pytest.raises(OtolithError, match="is no folder"):
        read_clips(tmp_path / "none")
    with pytest.raises(OtolithError, match="holds no recordings"):
        read_clips(tmp_path)
    with pytest.raises(OtolithError, match="holds no recordings"):
        read_runs(tmp_path, CHANNELS, 100.0)
    with pytest.raises(OtolithError, match=r"one label only \(yes\)"):
        require_labels(["yes", "yes"], "here")


def test_a_folder_with_one_label_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    shutil.copytree(DATA / "clips" / "yes", tmp_path / "clips" / "yes")
    with pytest.raises(OtolithError, match=r"one label only \(yes\)"):
        list_clips(sound_recipe(), tmp_path)


def test_a_label_that_the_model_lacks_is_unknown_or_an_error() -> None:
    assert map_label("cat", ["yes", "?"], "?", None, "here") == "?"
    assert map_label("_background_noise_", ["yes", "-"], None, "-", "here") == "-"
    with pytest.raises(OtolithError, match="label 'cat' is none of yes, no"):
        map_label("cat", ["yes", "no"], None, None, "here")


def test_a_fingerprint_changes_with_content_and_name_but_not_with_order(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"1")
    b.write_bytes(b"2")
    before = fingerprint({"a": a, "b": b})
    assert fingerprint({"b": b, "a": a}) == before
    assert fingerprint({"c": a, "b": b}) != before
    a.write_bytes(b"3")
    assert fingerprint({"a": a, "b": b}) != before
