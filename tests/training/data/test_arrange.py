"""Public sets as published become what the recipes that ship can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otolith.recordings import read_sensor
from otolith_training.data.arrange import arrange_sp_sw_har, arrange_speech_commands, arrange_speech_commands_test
from otolith_training.data.catalogue import RECIPES
from otolith_training.data.datasets import Split, read_clips, read_runs
from otolith_training.data.material import list_clips, list_runs, load_sound
from otolith_training.data.unpack import ArchiveError, Bounds, unpack
from otolith_training.recipe_file import read_recipe
from tests.training.data.publishing import HEADER, START_MS, canonical_test_files, sp_sw_har, speech_commands
from tests.training.small import DATA

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


def unpacked(archive: Path, name: str) -> Path:
    folder = archive.parent / "data" / name
    unpack(archive, folder, Bounds(100, 100_000_000), lambda _: None)
    return folder


def test_speech_commands_keep_their_official_splits_and_speakers(tmp_path: Path) -> None:
    folder = arrange_speech_commands(unpacked(speech_commands(tmp_path), "speech_commands"), print)
    clips = {clip.name: clip for clip in read_clips(folder)}
    assert len(clips) == 9
    assert [sum(clip.split == split for clip in clips.values()) for split in SPLITS] == [5, 2, 2]
    clip = clips["yes/0f2f57c1_nohash_0.wav"]
    assert (clip.label, clip.group, clip.split) == ("yes", "0f2f57c1", "train")
    assert all(clip.group == name.split("/")[1][:8] for name, clip in clips.items())


def test_the_recipe_for_speech_commands_reads_what_was_arranged(tmp_path: Path) -> None:
    folder = arrange_speech_commands(unpacked(speech_commands(tmp_path), "speech_commands"), print)
    recipe, _ = read_recipe(RECIPES / "speech_commands.toml")
    clips = list_clips(recipe, folder.parent)
    assert len(clips) == 8  # it leaves out the speakers whose hash begins with 8 to f
    assert {clip.label for clip in clips} == {"yes", "no"}
    sounds = [load_sound(recipe, clips, folder.parent, split) for split in SPLITS]
    assert [len(sound.clips) for sound in sounds] == [4, 2, 2]
    assert sum(len(sound.material.noise) for sound in sounds) == 3 * 3 + 1  # three made ones each, and the recording


def test_silence_among_the_test_files_is_background_and_all_of_it_is_test(tmp_path: Path) -> None:
    folder = arrange_speech_commands_test(unpacked(canonical_test_files(tmp_path), "speech_commands_test"), print)
    found = {(clip.label, clip.group, clip.split) for clip in read_clips(folder)}
    assert found == {
        ("yes", "6f2f57c1", "test"),
        ("_unknown_", "97f4c236", "test"),
        ("_background_noise_", None, "test"),
    }


def test_runs_of_phone_and_watch_are_packed_as_they_were(tmp_path: Path) -> None:
    folder = arrange_sp_sw_har(unpacked(sp_sw_har(tmp_path), "sp_sw_har"), print)
    assert sorted(path.name for path in folder.iterdir()) == ["phone.npz", "subjects_info.csv", "watch.npz"]
    first = read_sensor(DATA / "motion" / "s01_01.csv")
    run = read_runs(folder / "watch.npz", first.channels, 100.0)[0]
    assert (run.name, run.group, run.labels) == ("watch.npz/s01_01", "s01", first.labels)
    np.testing.assert_array_equal(run.values, first.values)
    with np.load(folder / "watch.npz") as packed:
        np.testing.assert_array_equal(packed["t_ms"][: len(first.time_s)], np.rint(first.time_s * 1000))
        assert packed["start_unix_ms"].tolist() == [START_MS] * 3


def test_the_recipe_for_motion_reads_what_was_arranged(tmp_path: Path) -> None:
    folder = arrange_sp_sw_har(unpacked(sp_sw_har(tmp_path), "raw"), print).rename(tmp_path / "sp_sw_har")
    recipe, _ = read_recipe(RECIPES / "motion.toml")
    assert [(run.group, run.split) for run in list_runs(recipe, folder.parent)] == [
        ("s01", "train"), ("s15", "dev"), ("s22", "test"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEADER}\n1,2,3,4,5,6,2,SEATED\n1,2,3,4,5,6,1,SEATED\n", "row 2: time runs backwards"),
        (f"{HEADER}\n1,2,3,4,5,6,1,FLYING\n", "none of SEATED, STANDING_UP"),
        ("x_acc,timestamp,label\n1,2,SEATED\n", "has no column y_acc"),
    ],
)
def test_a_run_that_cannot_be_read_is_left_out_and_told(tmp_path: Path, text: str, said: str) -> None:
    told: list[str] = []
    folder = arrange_sp_sw_har(unpacked(sp_sw_har(tmp_path, s23_01_sw=text), "raw"), told.append)
    assert len(told) == 1
    assert told[0].startswith("left out: ")
    assert "DATA/s23/s23_01_sw.csv: " in told[0]
    assert said in told[0]
    assert len(read_runs(folder / "watch.npz", ["acc_x"], 100.0)) == 3


@pytest.mark.parametrize("arrange", [arrange_speech_commands, arrange_speech_commands_test, arrange_sp_sw_har])
def test_another_archive_than_the_set_is_refused(tmp_path: Path, arrange: type) -> None:
    (tmp_path / "README.md").write_text("some other set")
    with pytest.raises(ArchiveError):
        arrange(tmp_path, print)
