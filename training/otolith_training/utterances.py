"""The course of a recipe that classifies: whole utterances to learn from, and to be measured on while learning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from otolith.errors import OtolithError
from otolith_training.data.datasets import AnyItem, Clip, Line, Run, Split, map_label
from otolith_training.data.material import Items, load_sound
from otolith_training.data.texts import tokenizer_of
from otolith_training.data.utterances import (
    UtteranceComposer,
    UtteranceSet,
    VariedRows,
    VariedSound,
    Vary,
    as_they_are,
)
from otolith_training.measure.decisions import one_label
from otolith_training.measure.rehearse import Metrics, posteriors_of, raw_features
from otolith_training.measure.scores import score
from otolith_training.network.network import Network
from otolith_training.recipe import Recipe, Sound, Tokens, Utterances

Floats = NDArray[np.float32]
Samples = Floats | NDArray[np.int64]


class UtteranceRehearsal:
    """Each utterance of the development split from a fresh start, told at its last frame."""

    def __init__(self, utterances: UtteranceSet, recipe: Recipe) -> None:
        hop = recipe.frontend.hop_length if isinstance(recipe.frontend, Sound) else 0
        frames = [cut(values, hop) for values in utterances.utterances]
        self._lengths = [len(values) for values in frames]
        padded = np.zeros((len(frames), max(self._lengths), *frames[0].shape[1:]), frames[0].dtype)
        for row, values in zip(padded, frames, strict=True):
            row[: len(values)] = values
        self._frames, self._truth, self._labels = torch.from_numpy(padded), utterances.labels, recipe.all_labels

    def __call__(self, network: Network) -> Metrics:
        """Accuracy, macro-F1, and the mean of `-log` of the right label's posterior."""
        rows = posteriors_of(network, raw_features(network, self._frames), self._lengths)
        last = rows[np.arange(len(rows)), np.array(self._lengths) - 1]  # (utterances, labels)
        figures = score(self._truth, last.argmax(axis=1).astype(np.int64), self._labels)
        right = last[np.arange(len(last)), self._truth]
        accuracy, macro_f1 = figures["accuracy"], figures["macro_f1"]
        loss = float(-np.log(np.maximum(right, 1e-7)).mean())
        return {"score": (accuracy + macro_f1) / 2, "accuracy": accuracy, "macro_f1": macro_f1, "dev_loss": loss}


class UtteranceCourse:
    """Training batches by epoch, and the rehearsal. Raises `OtolithError` where a split is empty."""

    def __init__(self, recipe: Recipe, items: Items, data: Path) -> None:
        settings = recipe.streams
        assert isinstance(settings, Utterances)  # noqa: S101 - the recipe was checked for it
        self._recipe, self._settings = recipe, settings
        self._learned, self._vary = _load(recipe, settings, items, data, "train")
        self.rehearsal = UtteranceRehearsal(_load(recipe, settings, items, data, "dev")[0], recipe)

    def streams(self, epoch: int) -> UtteranceComposer:
        """An epoch's batches."""
        training = self._recipe.training
        return UtteranceComposer(
            self._learned,
            self._settings,
            self._vary,
            len(self._recipe.all_labels),
            streams=training.batch,
            longest=training.chunk_frames,
            seed=(training.seed, epoch),
        )


def cut(values: Samples, hop_length: int) -> Samples:
    """Whole frames of an utterance, at least one; rows and tokens (`hop_length` 0) are frames already."""
    if not hop_length:
        return values
    hops = max(1, len(values) // hop_length)
    padded = np.zeros(hops * hop_length, np.float32)
    padded[: len(values)] = values[: len(padded)]
    return padded.reshape(hops, hop_length)


def _load(recipe: Recipe, settings: Utterances, items: Items, data: Path, split: Split) -> tuple[UtteranceSet, Vary]:
    """The utterances of a split, and how they are varied in training."""
    labels, frontend, d = recipe.all_labels, recipe.frontend, recipe.data
    if isinstance(frontend, Sound):
        sound = load_sound(recipe, [item for item in items if isinstance(item, Clip)], data, split)
        words = [word for _, word in sound.clips]
        truth = np.array([word.label for word in words])
        vary = VariedSound(settings, sound.material.noise, frontend.sample_rate, frontend.hop_length)
        return UtteranceSet([word.samples for word in words], truth), vary
    chosen: Sequence[AnyItem] = [item for item in items if item.split == split]
    if not chosen:
        raise OtolithError(f"{data / recipe.data.path}: nothing falls into the split {split!r}; bring more")
    if isinstance(frontend, Tokens):
        return lines_of(recipe, [item for item in chosen if isinstance(item, Line)]), as_they_are
    runs = [item for item in chosen if isinstance(item, Run)]
    named = [map_label(one_label(run), labels, d.unknown, d.background, d.path) for run in runs]
    truth = np.array([labels.index(label) for label in named])
    deviation = np.concatenate([run.values for run in runs]).std(axis=0)
    return UtteranceSet([run.values for run in runs], truth), VariedRows(settings, deviation)


def lines_of(recipe: Recipe, lines: Sequence[Line]) -> UtteranceSet:
    """Lines as tokens, with their labels; what holds no token is left out."""
    assert isinstance(recipe.frontend, Tokens)  # noqa: S101 - the caller looked
    tokenizer, labels = tokenizer_of(recipe.frontend), recipe.all_labels
    encoded = [(line.encode(tokenizer), labels.index(line.label)) for line in lines]
    kept = [(ids, label) for ids, label in encoded if len(ids)]
    return UtteranceSet([ids for ids, _ in kept], np.array([label for _, label in kept]))
