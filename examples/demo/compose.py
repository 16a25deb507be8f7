"""Compose the demo's recordings from the public data sets that README.md in this folder names.

    python examples/demo/compose.py DATA

The words are of speakers in the test split of the speech commands, drawn by a seeded shuffle with no look at what a
model makes of them; the noise is the end of two long recordings, which training leaves out. What was
composed is written down as truth: `words.csv` in the layout of `events.csv`, and a `label` column in `motion.csv`.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import soundfile

HERE = Path(__file__).parent
RATE = 16000
SECONDS = 34
SEED = 20
KEYWORDS = 12
OTHERS = 4
NOISES = ("background_noise/exercise_bike.flac", "background_noise/doing_the_dishes.flac")
NOISE_RMS = 0.01
SNR_DB = (12.0, 24.0)
SUBJECT = "s22"


def main() -> None:
    data = Path(sys.argv[1])
    rng = np.random.default_rng(SEED)
    clips = draw_clips(data / "speech_commands", rng)
    track = background(data / "negatives")
    truth = []
    slots = np.linspace(1.2, SECONDS - 2.2, len(clips)) + rng.uniform(-0.3, 0.3, len(clips))
    for at_s, clip in zip(slots, clips, strict=True):
        sound, _ = soundfile.read(data / "speech_commands" / clip["file"], dtype="float32")
        start, end = word_bounds(sound)
        word_rms = np.sqrt(np.mean(sound[start:end] ** 2))
        gain = NOISE_RMS * 10 ** (rng.uniform(*SNR_DB) / 20) / word_rms
        at = round(at_s * RATE)
        track[at : at + len(sound)] += gain * sound * fade(len(sound))
        truth.append((at + start, at + end, clip["label"]))
    soundfile.write(HERE / "words.flac", np.clip(track, -1, 1), RATE, subtype="PCM_16")
    with (HERE / "words.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "start", "end", "label"])
        writer.writerows(["words.flac", f"{s / RATE:.3f}", f"{e / RATE:.3f}", label] for s, e, label in truth)
    write_motion(data / "sp_sw_har" / "watch.npz")


def draw_clips(folder: Path, rng: np.random.Generator) -> list[dict[str, str]]:
    """Keywords and a few other words in random order, each of another speaker, neither faint nor clipped."""
    with (folder / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test" and row["clipped"] == "0"]
    rows = [row for row in rows if float(row["peak"]) > 0.2]
    labels = sorted({row["label"] for row in rows} - {"_unknown_"})
    wanted = [*rng.permutation(labels), *rng.choice(labels, KEYWORDS - len(labels)), *["_unknown_"] * OTHERS]
    chosen: list[dict[str, str]] = []
    for label in rng.permutation(wanted):
        speakers = {row["speaker"] for row in chosen}
        free = [row for row in rows if row["label"] == label and row not in chosen]
        fresh = [row for row in free if row["speaker"] not in speakers] or free
        chosen.append(fresh[rng.integers(len(fresh))])
    return chosen


def background(folder: Path) -> np.ndarray:
    """The ends of two noise recordings, one after the other, crossfaded over a second."""
    half = SECONDS * RATE // 2
    first, second = (soundfile.read(folder / name, dtype="float32")[0][-(half + RATE // 2) :] for name in NOISES)
    first, second = (NOISE_RMS * noise / np.sqrt(np.mean(noise**2)) for noise in (first, second))
    ramp = np.linspace(0, 1, RATE, dtype=np.float32)
    middle = first[-RATE:] * np.sqrt(1 - ramp) + second[:RATE] * np.sqrt(ramp)
    return np.concatenate((first[:-RATE], middle, second[RATE:]))


def word_bounds(sound: np.ndarray) -> tuple[int, int]:
    """First and last sample of a clip's word: where its 20 ms energy is within 25 dB of the loudest."""
    hop = RATE // 100
    energy = np.array([np.mean(sound[i : i + 2 * hop] ** 2) for i in range(0, len(sound) - 2 * hop, hop)])
    loud = np.flatnonzero(energy > energy.max() * 10**-2.5)
    return int(loud[0]) * hop, (int(loud[-1]) + 2) * hop


def fade(length: int) -> np.ndarray:
    """Ten milliseconds in and out, so that a clip's own noise floor does not click."""
    ramp = np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.01 * RATE)
    return np.minimum(ramp, 1).astype(np.float32)


def write_motion(path: Path) -> None:
    """The longest run of a held-out subject's watch, as CSV."""
    runs = np.load(path)
    offsets = runs["offsets"]
    candidates = np.flatnonzero(runs["subject"] == SUBJECT)
    run = candidates[np.argmax(np.diff(offsets)[candidates])]
    rows = slice(offsets[run], offsets[run + 1])
    with (HERE / "motion.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["t", *runs["channels"], "label"])
        for t_ms, values, label in zip(runs["t_ms"][rows], runs["X"][rows], runs["y"][rows], strict=True):
            writer.writerow([f"{t_ms / 1000:.3f}", *(f"{value:.4f}" for value in values), runs["labels"][label]])


if __name__ == "__main__":
    main()
