"""Public sets as their publishers lay them out, turned into folders that recipes read (datasets.py)."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from otolith.errors import RecordingError
from otolith.recordings import SensorRecording, read_sensor
from otolith_training.data.datasets import MANIFEST, NOISE_FOLDER, Split
from otolith_training.data.unpack import ArchiveError

Arrange = Callable[[Path, Callable[[str], None]], Path]  # what was unpacked, where to tell what -> the set's folder

SPEAKER = re.compile(r"(?:^|_)([0-9a-f]{8})_nohash_\d+\.wav$")
SILENCE_FOLDER = "_silence_"  # what the test files call a background
SPLIT_LISTS: dict[str, Split] = {"validation_list.txt": "dev", "testing_list.txt": "test"}

ACTIVITIES = ("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN")
DEVICES = {"sw": "watch.npz", "sp": "phone.npz"}
AXES = {f"{axis}_{sensor}": f"{sensor}_{axis}" for sensor in ("acc", "gyro") for axis in "xyz"}  # theirs -> ours
RUN_NAME = re.compile(r"(?P<execution>(?P<subject>s\d\d)_\d\d)_(?P<device>sp|sw)\.csv")
RUN_TABLES = ("subjects_info.csv", "executions_info.csv")


def arrange_speech_commands(folder: Path, _tell: Callable[[str], None]) -> Path:
    """Speech Commands v0.02: the official splits as a manifest, from the two lists beside the words' folders.

    Rests on section 6 of Warden, "Speech Commands", arXiv 1804.03209, and the archive's own README. The minutes of
    noise in `_background_noise_` stay out of the manifest: they are no clips, and a recipe names their folder.
    """
    splits: dict[str, Split] = {}
    for name, split in SPLIT_LISTS.items():
        splits |= dict.fromkeys(_lines(folder / name), split)
    clips = [name for name in _clips(folder) if not name.startswith(f"{NOISE_FOLDER}/")]
    _write_manifest(folder, ((name, _word(name), splits.get(name, "train")) for name in clips))
    return folder


def arrange_speech_commands_test(folder: Path, _tell: Callable[[str], None]) -> Path:
    """The canonical test files of Speech Commands v0.02: ten words, `_unknown_` and silence, all of them `test`."""
    _write_manifest(folder, ((name, _word(name), "test") for name in _clips(folder)))
    return folder


def arrange_sp_sw_har(folder: Path, tell: Callable[[str], None]) -> Path:
    """SP-SW-HAR: each device's runs in one packed file, values and order as published.

    Rests on the README of the published repository: `DATA/sXX/sXX_YY_{sp|sw}.csv` with `x_acc` ... `z_gyro` (m/s^2,
    rad/s), `timestamp` (Unix, ms) and `label` a row. A run that cannot be read is left out, and told.
    """
    out = folder / "packed"
    out.mkdir()
    for device, name in DEVICES.items():
        runs = {}
        for path in sorted(folder.glob("*/DATA/s*/*.csv")):
            found = RUN_NAME.fullmatch(path.name)
            if found and found["device"] == device:
                try:
                    runs[found["execution"], found["subject"]] = _read_run(path)
                except RecordingError as error:
                    tell(f"left out: {str(error).removeprefix(f'{folder}/')}")
        if not runs:
            raise ArchiveError(f"{folder.name}: holds no runs that can be read as DATA/sXX/sXX_YY_{device}.csv")
        _pack(out / name, runs)
    for table in (path for name in RUN_TABLES for path in folder.glob(f"*/DATA/{name}")):
        shutil.copyfile(table, out / table.name)
    return out


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        raise ArchiveError(f"{path.name}: is missing or no text, so this is not Speech Commands v0.02") from None


def _clips(folder: Path) -> list[str]:
    """The sound files' names as both lists write them: `word/file.wav`."""
    clips = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.wav") if path.name[0] != ".")
    if not clips:
        raise ArchiveError(f"{folder.name}: holds no clips as word/*.wav, so this is not Speech Commands v0.02")
    return clips


def _word(name: str) -> str:
    word = name.partition("/")[0]
    return NOISE_FOLDER if word == SILENCE_FOLDER else word


def _write_manifest(folder: Path, rows: Iterable[tuple[str, str, Split]]) -> None:
    """One row a clip; the speaker is the hash that stands in the file's name before `_nohash_`."""
    with (folder / MANIFEST).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "speaker", "split"])
        for name, label, split in rows:
            speaker = SPEAKER.search(name.rpartition("/")[2])
            writer.writerow([name, label, speaker[1] if speaker else "", split])


def _read_run(path: Path) -> SensorRecording:
    run = read_sensor(path)
    run.select(list(AXES))  # raises where one is missing
    if run.labels is None or not set(run.labels) <= set(ACTIVITIES):
        raise RecordingError(f"{path}: a row's label is missing, or none of {', '.join(ACTIVITIES)}")
    return run


def _pack(path: Path, runs: dict[tuple[str, str], SensorRecording]) -> None:
    """All runs end to end, as datasets.py reads them; the keys are each one's execution and subject."""
    starts = [round(float(run.time_s[0]) * 1000) for run in runs.values()]
    times = [np.rint(run.time_s * 1000).astype(np.int64) for run in runs.values()]
    np.savez_compressed(
        path,
        X=np.concatenate([run.select(list(AXES)) for run in runs.values()]),
        y=np.array([ACTIVITIES.index(label) for run in runs.values() for label in run.labels or ()], np.int8),
        t_ms=np.concatenate([time - start for time, start in zip(times, starts, strict=True)]).astype(np.int32),
        offsets=_offsets([len(time) for time in times]),
        execution=np.array([execution for execution, _ in runs]),
        subject=np.array([subject for _, subject in runs]),
        start_unix_ms=np.array(starts, np.int64),
        labels=np.array(ACTIVITIES),
        channels=np.array(list(AXES.values())),
    )


def _offsets(lengths: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where each run begins, and behind the last where it ends: `(runs + 1,)`."""
    return np.array([0, *accumulate(lengths)], np.int64)
