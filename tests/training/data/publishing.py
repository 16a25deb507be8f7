"""Public sets made small: archives laid out as their publishers do, of the recordings that come with the tests."""

from __future__ import annotations

import csv
import tarfile
from pathlib import Path
from zipfile import ZipFile

import soundfile

from tests.training.small import DATA

TOP = "sp-sw-har-dataset-1408d85"
HEADER = "x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label"
START_MS = 1_657_533_977_810
LISTS = {"dev": "validation_list.txt", "test": "testing_list.txt"}


def speech_commands(folder: Path) -> Path:
    """Nine clips of three words under names as Speech Commands has them, its two lists, and a noise."""
    tree = folder / "tree"
    (tree / "_background_noise_").mkdir(parents=True)
    listed: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    with (DATA / "clips" / "manifest.csv").open() as file:
        for number, row in enumerate(csv.DictReader(file)):
            word = "eight" if row["label"] == "_unknown_" else row["label"]
            name = f"{word}/{number}{row['speaker'][1:]}_nohash_0.wav"
            (tree / word).mkdir(exist_ok=True)
            soundfile.write(tree / name, *soundfile.read(DATA / "clips" / row["file"]))
            listed[row["split"]].append(name)
    for split, name in LISTS.items():
        (tree / name).write_text("".join(f"{clip}\n" for clip in listed[split]))
    noise = soundfile.read(DATA / "noise" / "exercise_bike.flac")
    soundfile.write(tree / "_background_noise_" / "exercise_bike.wav", *noise)
    with tarfile.open(folder / "speech_commands.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(tree, ".")
    return folder / "speech_commands.tar.gz"


def canonical_test_files(folder: Path) -> Path:
    """The canonical test files' three kinds of folders, a clip in each."""
    tree = folder / "tree"
    sound = soundfile.read(DATA / "clips" / "yes" / "6f2f57c1_nohash_3.flac")
    for name in ("yes/6f2f57c1_nohash_3.wav", "_unknown_/eight_97f4c236_nohash_3.wav", "_silence_/noise_1.wav"):
        (tree / name).parent.mkdir(parents=True)
        soundfile.write(tree / name, *sound)
    with tarfile.open(folder / "test.tar.gz", "w:gz") as tar:
        tar.add(tree, ".")
    return folder / "test.tar.gz"


def sp_sw_har(folder: Path, **extra: str) -> Path:
    """Three runs as SP-SW-HAR has them, each for the phone and for the watch; `extra` are further files in DATA."""
    with ZipFile(folder / "sp_sw_har.zip", "w") as file:
        file.writestr(f"{TOP}/README.md", "a data set")
        file.writestr(f"{TOP}/DATA/subjects_info.csv", "subject_id,age\ns01,54\n")
        for path in sorted((DATA / "motion").glob("s*.csv")):
            rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
            lines = [",".join([*row[1:7], str(START_MS + round(float(row[0]) * 1000)), row[7]]) for row in rows]
            for device in ("sp", "sw"):
                name = f"{TOP}/DATA/{path.stem[:3]}/{path.stem}_{device}.csv"
                file.writestr(name, "\n".join([HEADER, *lines]) + "\n")
        for name, content in extra.items():
            file.writestr(f"{TOP}/DATA/s23/{name}.csv", content)
    return folder / "sp_sw_har.zip"
