"""The evaluation: a model file over a folder of recordings, through the daemon's own `Stream`; needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError, UsageError
from otolith.inference.card import Card
from otolith.inference.events import Posteriors
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.recordings import load_audio
from otolith_training.data.datasets import (
    SPLIT_NAMES,
    Clip,
    Run,
    assign_splits,
    fingerprint,
    map_label,
    read_clips,
    read_runs,
)
from otolith_training.measure.decide import TAIL_S, decide
from otolith_training.measure.scores import score
from otolith_training.recipe import Data, Recipe, parse_recipe

Floats = NDArray[np.float32]
Advance = Callable[[int, int], None]  # done, of how many

EVERYTHING = "all"


def evaluate(path: Path, data: Path, split: str | None = None, advance: Advance | None = None) -> dict[str, Any]:
    """The figures of the model at `path` over `data`, ready for JSON.

    `split` is `train`, `dev`, `test` or `all`; None: test where the set has splits, else all of it. A set has splits
    where its manifest names them, or where the model learned from this very set (by fingerprint): then the recipe's
    own rule holds. Raises `OtolithError`.
    """
    model = Model.open(path)
    recipe = parse_recipe(model.card.recipe, f"{path}: the card's recipe")
    items, split = choose(model.card, recipe, data, split)
    figures = measure(model, recipe, items, advance)
    return {"model": model.identity, "data": str(data), "split": split, "kind": model.card.kind, **figures}


def choose(card: Card, recipe: Recipe, data: Path, split: str | None) -> tuple[list[Clip] | list[Run], str]:
    """The recordings to measure on, and the name of their split."""
    if split is not None and split not in (*SPLIT_NAMES.values(), EVERYTHING):
        raise UsageError(f"--split {split!r}; it can be train, dev, test or {EVERYTHING}")
    d = recipe.data
    known = _is_known(card, recipe, data)
    columns = (d.label_column, d.group_column) if known else ("label", "")
    if card.kind == "audio":
        return _choose(read_clips(data, *columns), d if known else None, data, split)
    names = [channel.name for channel in card.channels]
    return _choose(read_runs(data, names, card.sample_rate, *columns), d if known else None, data, split)


def measure(
    model: Model, recipe: Recipe, items: Sequence[Clip | Run], advance: Advance | None = None
) -> dict[str, Any]:
    """Figures of `items` (all clips or all runs): a decision a clip, or one a row."""
    card = model.card
    truth: list[int] = []
    found: list[int] = []
    for number, item in enumerate(items):
        if isinstance(item, Clip):
            truth.append(_index(item.label, recipe, card, item.path))
            found.append(hear_clip(model, load_audio(item.path, round(card.sample_rate))))
        else:
            truth += [_index(label, recipe, card, item.path) for label in item.labels]
            found += run_stream(model, item.values).argmax(axis=1).tolist()
        if advance is not None:
            advance(number + 1, len(items))
    unit = "clips" if card.kind == "audio" else "rows"
    return {unit: len(truth), **score(np.array(truth), np.array(found), card.labels)}


def hear_clip(model: Model, samples: Floats) -> int:
    """The label index that a clip is decided to be, from a fresh stream and with a little silence behind it."""
    card = model.card
    tail = np.zeros(round(TAIL_S * card.sample_rate) + card.hop_length, np.float32)
    posteriors = run_stream(model, np.concatenate((samples, tail)))
    count = -(-(len(samples) + round(TAIL_S * card.sample_rate)) // card.hop_length)
    return decide(posteriors[:count], card.labels, card.background, card.frame_rate)


def run_stream(model: Model, samples: Floats) -> Floats:
    """Posteriors `(frames, labels)` of a whole recording, from a fresh stream."""
    values = [event.values for event in Stream(model).push(samples) if isinstance(event, Posteriors)]
    if not values:
        raise OtolithError(f"a recording of {len(samples)} samples fills no frame of {model.card.hop_length}")
    return np.concatenate(values)


def _choose(items: list[Any], rule: Data | None, data: Path, split: str | None) -> tuple[list[Any], str]:
    named = any(item.split is not None for item in items)
    split = split or ("test" if named or rule is not None else EVERYTHING)
    if split == EVERYTHING:
        return items, split
    assigned = assign_splits(items, rule.dev, rule.test) if rule is not None else assign_splits(items)
    chosen = [item for item in assigned if item.split == split]
    if not chosen:
        raise OtolithError(f"{data}: nothing falls into the split {split!r}; name another with --split")
    return chosen, split


def _is_known(card: Card, recipe: Recipe, data: Path) -> bool:
    """Whether the model learned from this very set."""
    learned = {entry.fingerprint for entry in card.data}
    if card.kind == "audio":
        try:
            clips = read_clips(data, recipe.data.label_column, recipe.data.group_column, recipe.data.files)
        except OtolithError:
            return False
        return fingerprint({clip.name: clip.path for clip in clips}) in learned
    if data.is_file():
        return fingerprint({data.name: data}) in learned
    paths = sorted(path for path in data.glob("**/*") if path.suffix == ".npz")
    if paths:
        return all(fingerprint({path.relative_to(data).as_posix(): path}) in learned for path in paths)
    names = [channel.name for channel in card.channels]
    try:
        runs = read_runs(data, names, card.sample_rate, recipe.data.label_column, recipe.data.group_column)
    except OtolithError:
        return False
    return fingerprint({run.path.relative_to(data).as_posix(): run.path for run in runs}) in learned


def _index(label: str, recipe: Recipe, card: Card, where: Path) -> int:
    name = map_label(label, card.labels, recipe.data.unknown, card.background, str(where))
    return card.labels.index(name)
