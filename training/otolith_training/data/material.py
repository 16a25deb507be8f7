"""Material: the recipe's sets, read from the data folder, split, and ready to be composed into streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError
from otolith.inference.card import DataSet
from otolith.recordings import AUDIO_SUFFIXES
from otolith_training.data.datasets import (
    NOISE_FOLDER,
    AnyItem,
    Clip,
    Line,
    Run,
    Split,
    fingerprint,
    fingerprints,
    map_label,
    read_clips,
    read_runs,
    require_labels,
)
from otolith_training.data.decoded import load_decoded
from otolith_training.data.series import list_series
from otolith_training.data.signals import Signal, list_signals
from otolith_training.data.sounds import coloured_noise
from otolith_training.data.splits import DEV_SHARE, TEST_SHARE, assign_splits, hashed_split
from otolith_training.data.texts import read_passages, read_texts, split_lines
from otolith_training.data.words import Material, Word, find_word
from otolith_training.recipe import Backgrounds, Recipe, Rows, Signals, Sound, Tokens

Floats = NDArray[np.float32]

LONG_S = 30.0  # a recording longer than this is split by time rather than held out whole
COLOURED_S = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class SoundSet:
    """Sound for one split: material to compose, and the clips as they are."""

    material: Material
    clips: Sequence[tuple[Clip, Word]]


@dataclass(frozen=True, slots=True, eq=False)
class RowSet:
    """Runs for one split, with label indices beside each."""

    runs: Sequence[Run]
    labels: Sequence[NDArray[np.int64]]  # (rows,) each


Items = list[Clip] | list[Run] | list[Line]


def list_items(recipe: Recipe, data: Path) -> Items:
    """The clips, signals, runs, series or lines that the recipe names, split. Raises `OtolithError`."""
    if isinstance(recipe.frontend, Tokens):
        return list_lines(recipe, data)
    if recipe.forecast is not None:
        return list_series(recipe, data)
    if isinstance(recipe.streams, Signals):
        return list_signals(recipe, data)
    return list_runs(recipe, data) if isinstance(recipe.frontend, Rows) else list_clips(recipe, data)


def list_clips(recipe: Recipe, data: Path) -> list[Clip]:
    """The clips that the recipe names, split, with the model's labels. Raises `OtolithError`."""
    d = recipe.data
    clips = read_clips(data / d.path, d.label_column, d.group_column, d.files)
    names = {b.path for b in d.backgrounds}
    clips = [c for c in clips if c.label != NOISE_FOLDER or f"{d.path}/{NOISE_FOLDER}" not in names]
    where = str(data / d.path)
    labels = {label: map_label(label, recipe.all_labels, d.unknown, d.background, where) for label in _labels(clips)}
    require_labels(list(labels.values()), where)
    named = [Clip(c.name, c.path, labels[c.label], c.group, c.split) for c in clips]
    return assign_splits(named, d.dev, d.test)


def list_runs(recipe: Recipe, data: Path) -> list[Run]:
    """The runs that the recipe names, split. Raises `OtolithError`."""
    d, rows = recipe.data, recipe.frontend
    assert isinstance(rows, Rows)  # noqa: S101 - the recipe was checked for it
    names = [channel.name for channel in rows.channels]
    runs = read_runs(data / d.path, names, rows.sample_rate, d.label_column, d.group_column, d.files)
    found = sorted({label for run in runs for label in set(run.labels)})
    for label in found:
        map_label(label, recipe.all_labels, d.unknown, d.background, str(data / d.path))
    require_labels(found, str(data / d.path))
    return assign_splits(runs, d.dev, d.test)


def list_lines(recipe: Recipe, data: Path) -> list[Line]:
    """The lines that the recipe names, split, with the model's labels; passages where no labels are learned."""
    d, tokens = recipe.data, recipe.frontend
    assert isinstance(tokens, Tokens)  # noqa: S101 - the recipe was checked for it
    where = data / d.path
    if recipe.is_language:
        return read_passages(where)
    lines = read_texts(where, tokens.cut, d.label_column, d.group_column)
    labels = {label: map_label(label, recipe.all_labels, d.unknown, None, str(where)) for label in _labels(lines)}
    require_labels(list(labels.values()), str(where))
    return split_lines(replace(line, label=labels[line.label]) for line in lines)


def load_sound(recipe: Recipe, clips: Sequence[Clip], data: Path, split: Split) -> SoundSet:
    """The sound of one split. `clips` are those of all splits."""
    frontend = recipe.frontend
    assert isinstance(frontend, Sound)  # noqa: S101 - the recipe was checked for it
    rate = frontend.sample_rate
    chosen = [clip for clip in clips if clip.split == split]
    if not chosen:
        raise OtolithError(
            f"{data / recipe.data.path}: no clip falls into the split {split!r}; bring more, or name groups for it"
        )
    labels = recipe.all_labels
    home = (data / recipe.data.path).resolve()
    sounds = load_decoded([clip.path for clip in chosen], rate, f"{home} {split}")
    words: list[list[Word]] = [[] for _ in labels]
    pairs = []
    for clip, samples in zip(chosen, sounds, strict=True):
        word = Word(samples, *find_word(samples, rate), labels.index(clip.label))
        pairs.append((clip, word))
        words[word.label].append(word)
    silence = [] if recipe.data.background is None else words[labels.index(recipe.data.background)]
    random = np.random.default_rng(recipe.training.seed)
    noise = [coloured_noise(random, int(COLOURED_S * rate), slope) for slope in (0.0, -3.0, -6.0)]
    noise += [word.samples for word in silence]
    silence.clear()
    speech: list[Floats] = []
    for backgrounds in recipe.data.backgrounds:
        target = speech if backgrounds.role == "speech" else noise
        target += _load_backgrounds(backgrounds, data, rate, split)
    return SoundSet(Material(words, noise, speech), pairs)


def load_rows(recipe: Recipe, runs: Sequence[Run], split: Split) -> RowSet:
    """The runs of one split."""
    d, labels = recipe.data, recipe.all_labels
    chosen = [run for run in runs if run.split == split]
    if not chosen:
        raise OtolithError(f"{d.path}: no run falls into the split {split!r}; bring more, or name groups for it")
    index = {
        label: labels.index(map_label(label, labels, d.unknown, d.background, d.path))
        for label in {label for run in chosen for label in set(run.labels)}
    }
    return RowSet(chosen, [np.array([index[label] for label in run.labels]) for run in chosen])


def load_signals(recipe: Recipe, items: Sequence[AnyItem], split: Split) -> list[tuple[Signal, int]]:
    """The signals of one split, each with its label's index."""
    labels = recipe.all_labels
    chosen = [(item, labels.index(item.label)) for item in items if isinstance(item, Signal) and item.split == split]
    if not chosen:
        raise OtolithError(f"{recipe.data.path}: no recording falls into the split {split!r}; name groups for it")
    return chosen


def describe_sets(recipe: Recipe, items: Sequence[AnyItem], data: Path) -> list[DataSet]:
    """The sets as they stand on the card; packed files stand there one by one, as they may be brought one by one."""
    d = recipe.data
    home = data / d.path
    files = {item.path.relative_to(home).as_posix(): item.path for item in items if item.path.is_relative_to(home)}
    sets = [
        DataSet(f"{d.name} ({packed})" if packed else d.name, d.licence, d.attribution, found)
        for found, packed in fingerprints(files).items()
    ]
    for b in d.backgrounds:
        found = {path.relative_to(data / b.path).as_posix(): path for path in _background_files(b, data)}
        sets.append(DataSet(b.name, b.licence, b.attribution, fingerprint(found)))
    return sets


def split_background(
    name: str, samples: Floats, rate: int, dev: float = DEV_SHARE, test: float = TEST_SHARE
) -> dict[Split, Floats]:
    """A background recording by split: a long one by time (train, dev, test), a short one whole, by a hash of its name.

    `dev` and `test` are the shares held out.
    """
    if len(samples) < LONG_S * rate:
        return {hashed_split(name, dev, test): samples}
    ends = [round(share * len(samples)) for share in (1 - dev - test, 1 - test)]
    return {"train": samples[: ends[0]], "dev": samples[ends[0] : ends[1]], "test": samples[ends[1] :]}


def _load_backgrounds(backgrounds: Backgrounds, data: Path, rate: int, split: Split) -> list[Floats]:
    home = data / backgrounds.path
    paths = _background_files(backgrounds, data)
    sounds = load_decoded(paths, rate, f"{home.resolve()} {' '.join(backgrounds.folders)}")
    named = zip((path.relative_to(home).as_posix() for path in paths), sounds, strict=True)
    shares = backgrounds.dev, backgrounds.test
    held = [split_background(name, samples, rate, *shares).get(split) for name, samples in named]
    return [samples for samples in held if samples is not None and len(samples) >= rate // 5]


def _background_files(backgrounds: Backgrounds, data: Path) -> list[Path]:
    root = data / backgrounds.path
    places = [root / folder for folder in backgrounds.folders] or [root]
    for place in places:
        if not place.is_dir():
            raise OtolithError(f"{place}: is no folder; data.backgrounds names it in the recipe")
    paths = [p for place in places for p in sorted(place.glob("**/*")) if p.suffix.lower() in AUDIO_SUFFIXES]
    if not paths:
        raise OtolithError(f"{root}: holds no sound files; bring background recordings or take them out of the recipe")
    return paths


def _labels(items: Sequence[Clip] | Sequence[Line]) -> set[str]:
    return {item.label for item in items}
