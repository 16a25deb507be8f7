"""Long recordings composed of held-out clips, written as sound files with their events: what `evaluate` listens to.

They are the streams that training composes, of a split that it left out, at levels a listener meets. As files they can
be listened to, measured by any program, and kept: the same seed gives the same samples.
"""

from __future__ import annotations

import csv
import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from otolith.errors import OtolithError, UsageError
from otolith.recordings import AUDIO_SUFFIXES, load_audio
from otolith_training.course import clip_composer, living_streams
from otolith_training.data.composer import ClipComposer, Spoken
from otolith_training.data.datasets import MANIFEST, Clip, Split
from otolith_training.data.material import SoundSet, list_items, load_sound
from otolith_training.data.words import Material
from otolith_training.measure.tracks import COLUMNS, EVENTS, LATE_S
from otolith_training.recipe import Clips, Recipe
from otolith_training.recipe_file import read_recipe

Floats = NDArray[np.float32]

RECORDING_S = 1800.0  # of one file
CHUNK_S = 2.0
HELD = 4  # chunks kept back until it is known that no word is cut by the end


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be composed; None leaves what the trainer's own development streams have."""

    split: Split
    hours: float
    seed: int
    snr_db: tuple[float, float] | None = None
    gap_s: tuple[float, float] | None = None
    speech: Sequence[Path] = ()  # folders of other speech, used as background and between the words
    noise: Sequence[Path] = ()


def compose(recipe_path: Path, data: Path, out: Path, order: Order, console: Console) -> None:
    """Write recordings, `events.csv` and `manifest.csv` into `out`. Raises `OtolithError`."""
    recipe, _ = read_recipe(recipe_path)
    if not isinstance(recipe.streams, Clips):
        raise UsageError(
            f"{recipe_path}: is of kind {recipe.data.kind}, task {recipe.task}; only clips of sound that are tagged "
            "are composed over a background: measure its model with otolith evaluate, on recordings as they are"
        )
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out}: holds something already; name a new folder with --out")
    clips = [item for item in list_items(recipe, data) if isinstance(item, Clip)]
    sound = load_sound(recipe, clips, data, order.split)
    composer, count = _composer(recipe, sound, order)
    out.mkdir(parents=True, exist_ok=True)
    chunks = math.ceil(order.hours * 3600 / count / CHUNK_S)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("composing", total=chunks)
        lengths, spoken = _write(out, composer, count, chunks, recipe, lambda: progress.advance(bar))
    _write_events(out, recipe, lengths, spoken)
    _write_manifest(out, order.split, lengths, recipe)
    hours = sum(lengths) / recipe.frontend.sample_rate / 3600
    console.print(f"{out}: {count} recordings, {hours:.2f} h, {len(spoken):,} words", markup=False, soft_wrap=True)


def _composer(recipe: Recipe, sound: SoundSet, order: Order) -> tuple[ClipComposer, int]:
    """The composer, and how many recordings it composes side by side."""
    assert isinstance(recipe.streams, Clips)  # noqa: S101 - the caller looked
    settings = living_streams(recipe.streams)
    if order.snr_db is not None:
        settings = msgspec.structs.replace(settings, snr_db=order.snr_db)
    if order.gap_s is not None:
        settings = msgspec.structs.replace(settings, gap_s=order.gap_s)
    rate = round(recipe.frontend.sample_rate)
    material = Material(
        sound.material.words,
        [*sound.material.noise, *_load(order.noise, rate)],
        [*sound.material.speech, *_load(order.speech, rate)],
    )
    count = max(1, round(order.hours * 3600 / RECORDING_S))
    frames = round(CHUNK_S * rate / _hop(recipe))
    return clip_composer(recipe, SoundSet(material, sound.clips), settings, count, frames, order.seed), count


def _load(folders: Sequence[Path], rate: int) -> list[Floats]:
    sounds = []
    for folder in folders:
        paths = [path for path in sorted(folder.glob("**/*")) if path.suffix.lower() in AUDIO_SUFFIXES]
        if not paths:
            raise OtolithError(f"{folder}: holds no sound files; name a folder that does")
        sounds += [load_audio(path, rate) for path in paths]
    return [samples for samples in sounds if len(samples) >= rate // 5]


def _write(
    out: Path, composer: ClipComposer, count: int, chunks: int, recipe: Recipe, advance: Callable[[], None]
) -> tuple[list[int], list[Spoken]]:
    """Write every recording up to where a word begins that it does not hold whole; returns lengths and words."""
    rate, held = round(recipe.frontend.sample_rate), deque[Floats]()
    spoken: list[Spoken] = []
    lengths = [0] * count
    with ExitStack() as stack:
        files = [stack.enter_context(soundfile.SoundFile(out / name, "w", rate, 1, "PCM_16")) for name in _names(count)]

        def put(sound: Floats, ends: Sequence[int] | None = None) -> None:
            for number, (file, samples) in enumerate(zip(files, sound, strict=True)):
                part = samples if ends is None else samples[: max(0, ends[number] - lengths[number])]
                file.write(part)
                lengths[number] += len(part)

        for _ in range(chunks):
            chunk = composer.next()
            spoken += chunk.spoken
            held.append(chunk.frames.reshape(count, -1))
            if len(held) > HELD:
                put(held.popleft())
            advance()
        ends = _ends(spoken, count, lengths[0] + sum(part.shape[1] for part in held), round(LATE_S * rate))
        for part in held:
            put(part, ends)
    return lengths, [word for word in spoken if word.end <= ends[word.stream]]


def _ends(spoken: Sequence[Spoken], count: int, length: int, late: int) -> list[int]:
    """Where each recording ends: behind the last word that it holds whole, with the time to tell it."""
    ends = [length] * count
    for word in spoken:
        if word.end + late > length:
            ends[word.stream] = min(ends[word.stream], word.start)
    return ends


def _write_events(out: Path, recipe: Recipe, lengths: Sequence[int], spoken: Sequence[Spoken]) -> None:
    rate, names, labels = recipe.frontend.sample_rate, _names(len(lengths)), recipe.all_labels
    with (out / EVENTS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for word in sorted(spoken, key=lambda word: (word.stream, word.start)):
            times = (f"{word.start / rate:.4f}", f"{word.end / rate:.4f}")
            writer.writerow([names[word.stream], *times, labels[word.label]])


def _write_manifest(out: Path, split: Split, lengths: Sequence[int], recipe: Recipe) -> None:
    with (out / MANIFEST).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "split", "seconds"])
        for name, length in zip(_names(len(lengths)), lengths, strict=True):
            writer.writerow([name, split, f"{length / recipe.frontend.sample_rate:.1f}"])


def _names(count: int) -> list[str]:
    return [f"stream_{number:03d}.flac" for number in range(count)]


def _hop(recipe: Recipe) -> int:
    return getattr(recipe.frontend, "hop_length", 1)
