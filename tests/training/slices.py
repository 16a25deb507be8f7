"""The sets that the recipes name, laid out as they expect them, each a slice of real recordings.

UCI HAR's licence lets no slice of it stand here: its recipe gets windows of the same kind of sensor, from SP-SW-HAR.
Nor do those of the review sentences and of ETTh1: their recipes get sentences and rows made up, and so does NAB's.
That of the CWRU bearings is not known: their recipe gets machines that never were.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import soundfile

from otolith_training.data.datasets import Run, read_runs
from tests.training.machines import write_packed
from tests.training.small import DATA, write_sentences

CHANNELS = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
WINDOW = 128  # rows


def lay_out(folder: Path) -> Path:
    """Make the data folder that the recipes' paths are in."""
    for name in ("wake_words", "negatives"):
        shutil.copytree(DATA / name, folder / name)
    shutil.copytree(DATA / "digits", folder / "fsdd")
    (folder / "negatives" / "background_noise").mkdir()
    shutil.copy(DATA / "noise" / "exercise_bike.flac", folder / "negatives" / "background_noise")
    _speech_commands(folder / "speech_commands")
    runs = read_runs(DATA / "motion", CHANNELS, 100.0)
    _sp_sw_har(folder / "sp_sw_har", runs)
    _uci_har(folder / "uci_har", runs)
    write_sentences(folder).joinpath("sentences").rename(folder / "rt_polarity")
    _series(folder / "ett" / "ETTh1.csv", ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"], 14_400, 3600)
    _series(folder / "nab" / "realAWSCloudwatch" / "ec2_cpu_utilization_24ae8d.csv", ["value"], 700, 300)
    conditions = {
        "fault": ["normal", "normal", "inner", "inner"],
        "diameter_mil": [0, 0, 7, 7],
        "load_hp": [0, 1, 0, 1],
    }
    columns = {name: np.array(values) for name, values in conditions.items()}
    columns["sample_rate"] = np.full(4, 12000)  # as they are: brought up to it, their upper bands would be empty
    write_packed(folder / "cwru_bearing" / "de12k_loads012.npz", **columns)
    return folder


def _speech_commands(folder: Path) -> None:
    """Clips under names as the whole set has them, and its noise."""
    (folder / "_background_noise_").mkdir(parents=True)
    _as_wav(DATA / "noise" / "exercise_bike.flac", folder / "_background_noise_" / "exercise_bike.wav")
    with (DATA / "clips" / "manifest.csv").open() as file:
        clips = list(csv.DictReader(file))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "speaker", "split"])
        for number, clip in enumerate(clips):
            name = f"{clip['label']}/{number}{clip['speaker'][1:]}_nohash_0.wav"
            (folder / clip["label"]).mkdir(exist_ok=True)
            _as_wav(DATA / "clips" / clip["file"], folder / name)
            writer.writerow([name, clip["label"], clip["speaker"], clip["split"]])


def _as_wav(source: Path, target: Path) -> None:
    samples, rate = soundfile.read(source, dtype="int16")
    soundfile.write(target, samples, rate)


def _sp_sw_har(folder: Path, runs: list[Run]) -> None:
    """Whole runs in one packed file."""
    folder.mkdir()
    labels = sorted({label for run in runs for label in run.labels})
    np.savez(
        folder / "watch.npz",
        X=np.concatenate([run.values for run in runs]),
        y=np.array([labels.index(label) for run in runs for label in run.labels]),
        offsets=np.cumsum([0, *(len(run.values) for run in runs)]),
        labels=np.array(labels),
        subject=np.array([run.group for run in runs]),
        channels=np.array(CHANNELS),
    )


def _uci_har(folder: Path, runs: list[Run]) -> None:
    """Windows with the channels of the recipe; what is not walking stands."""
    folder.mkdir()
    channels = [f"body_{name}" for name in CHANNELS] + [f"total_{name}" for name in CHANNELS[:3]]
    for split, own in (("train", runs[:2]), ("test", runs[2:])):  # s15 is drawn into dev
        cuts = [(run, start) for run in own for start in range(0, len(run.values) - WINDOW, WINDOW)]
        rows = np.stack([run.values[start : start + WINDOW] for run, start in cuts])
        np.savez(
            folder / f"{split}.npz",
            X=np.concatenate((rows, rows[..., :3]), axis=2),
            y=np.array([int(run.labels[start + WINDOW // 2] == "WALKING") for run, start in cuts]),
            labels=np.array(["STANDING", "WALKING"]),
            subject=np.array([run.group for run, _ in cuts]),
            channels=np.array(channels),
        )


def _series(path: Path, channels: list[str], rows: int, step_s: float) -> None:
    """A rhythm with noise in every channel, over and over in 24 rows."""
    path.parent.mkdir(parents=True)
    at = np.arange(rows)
    noise = np.random.default_rng(0).normal(0, 0.3, (rows, len(channels)))
    values = np.sin(2 * np.pi * at[:, None] / 24 + np.arange(len(channels))) + noise
    table = np.column_stack((at * step_s, values))
    np.savetxt(path, table, "%.4f", ",", header=",".join(["t", *channels]), comments="")
