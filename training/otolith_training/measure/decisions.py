"""Decisions: a label for each clip or row, beside the truth, and whose they are; the base of accuracy and intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError
from otolith.inference.card import Card, Tokens
from otolith.inference.events import Detection
from otolith.inference.framing import Samples
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.inference.tokenizer import Tokenizer
from otolith.recordings import load_audio
from otolith_training.data.datasets import AnyItem, Clip, Line, Run, map_label
from otolith_training.data.signals import Signal, whole_of
from otolith_training.measure.decide import TAIL_S, decide, decide_run
from otolith_training.measure.intervals import bootstrap, cluster_matrices, number_groups, percentiles
from otolith_training.measure.scores import score
from otolith_training.measure.stretches import decide_stretches
from otolith_training.measure.tracks import Advance, push
from otolith_training.recipe import Recipe, Signals

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """Truth and what was found, as label indices, one a clip or row; `item` is the recording of each."""

    truth: Indices
    found: Indices
    item: Indices
    groups: tuple[str | None, ...]  # an item: its speaker or subject
    whole: Decisions | None = None  # one decision a run, where every run has one label throughout
    stretches: bool = False  # of signals: each recording stands by itself, whatever group it is of

    @property
    def clusters(self) -> Indices:
        """The cluster of each decision: its speaker or subject where known, else its recording.

        Of stretches its recording: a handful of groups, as of loads, would make no interval.
        """
        grouped = [None if self.stretches else group for group in self.groups]
        keys = [group if group is not None else index for index, group in enumerate(grouped)]
        return number_groups(keys)[self.item]

    def matrices(self, labels: int) -> Indices:
        """A confusion matrix a cluster `(clusters, labels, labels)`."""
        return cluster_matrices(self.truth, self.found, self.clusters, labels)


def decide_all(
    model: Model,
    recipe: Recipe,
    items: Sequence[AnyItem],
    advance: Advance | None = None,
    begin: Callable[[], Stream] | None = None,
) -> Decisions:
    """What the model makes of each item (all clips, runs or signals), each on a stream of its own that `begin` gives; a
    fresh one if not told."""
    if model.card.task == "classify":
        return decide_utterances(model, recipe, items, advance)
    card = model.card
    truth: list[int] = []
    found: list[int] = []
    counts: list[int] = []
    whole: list[int] = []  # a run's one label
    for number, item in enumerate(items):
        stream = begin() if begin is not None else Stream(model)
        if isinstance(item, Signal):
            decided = decide_stretches(hear(stream, item.samples), card.hop_length, _stretch(recipe, card))
            here = [truth_index(item.label, recipe, card, item.path)] * len(decided)
            found += decided
        elif isinstance(item, Clip):
            here = [truth_index(item.label, recipe, card, item.path)]
            found.append(hear_clip(stream, load_audio(item.path, round(card.sample_rate))))
        elif isinstance(item, Run):
            here = [truth_index(label, recipe, card, item.path) for label in item.labels]
            posteriors = hear(stream, item.values)
            found += posteriors.argmax(axis=1).tolist()
            whole += [decide_run(posteriors)] if len(set(here)) == 1 else []
        truth += here
        counts.append(len(here))
        if advance is not None:
            advance(number + 1, len(items))
    groups = tuple(item.group for item in items)
    numbers = np.arange(len(counts))
    runs = None
    if len(whole) == len(items):
        runs = Decisions(np.array(truth)[np.cumsum(counts) - 1], np.array(whole), numbers, groups)
    stretches = any(isinstance(item, Signal) for item in items)
    return Decisions(np.array(truth), np.array(found), np.repeat(numbers, counts), groups, runs, stretches)


def concatenate(parts: Sequence[Decisions]) -> Decisions:
    """Decisions on several sets as decisions on all of them."""
    begins = np.cumsum([0, *(len(part.groups) for part in parts)])[:-1]
    wholes = [part.whole for part in parts if part.whole is not None]
    return Decisions(
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.found for part in parts]),
        np.concatenate([part.item + begin for part, begin in zip(parts, begins, strict=True)]),
        tuple(group for part in parts for group in part.groups),
        concatenate(wholes) if wholes and len(wholes) == len(parts) else None,
        any(part.stretches for part in parts),
    )


def figures_of(decisions: Decisions, card: Card) -> dict[str, Any]:
    """Accuracy, macro-F1 and confusion with 95 % intervals, and accuracy by speaker or subject.

    Of rows also how late a new label is told; and, where every run has one label, the same figures of whole `runs`.
    """
    figures = _figures(decisions, card, "stretches" if decisions.stretches else _unit(card))
    if card.kind == "sensor" and card.task == "tag":
        figures["delay_s"] = change_delays(decisions, card.frame_rate)
    if decisions.whole is not None:
        figures["runs"] = _figures(decisions.whole, card, "runs")
    return figures


def _figures(decisions: Decisions, card: Card, unit: str) -> dict[str, Any]:
    group, alone = {"audio": ("speaker", "clip"), "sensor": ("subject", "run"), "token": ("author", "line")}[card.kind]
    if decisions.stretches:
        group = alone = "recording"
    matrices = decisions.matrices(len(card.labels))
    drawn = bootstrap(matrices)
    named = [name for name in decisions.groups if name is not None]
    return {
        unit: len(decisions.truth),
        **score(decisions.truth, decisions.found, card.labels),
        "accuracy_interval": list(percentiles(drawn["accuracy"])),
        "macro_f1_interval": list(percentiles(drawn["macro_f1"])),
        "interval_over": {"unit": group if len(named) == len(decisions.groups) else alone, "count": len(matrices)},
        "per_group": {name: _group_figures(decisions, name, unit) for name in sorted(set(named))},
    }


def change_delays(decisions: Decisions, frame_rate: float) -> dict[str, Any]:
    """From each true change of label to the first row that tells it, in seconds; one is missed where none does
    before the next change."""
    delays: list[float] = []
    changes = 0
    for index in range(len(decisions.groups)):
        rows = decisions.item == index
        truth, found = decisions.truth[rows], decisions.found[rows]
        edges = [*(np.flatnonzero(np.diff(truth)) + 1).tolist(), len(truth)]
        for start, end in pairwise(edges):
            changes += 1
            told = np.flatnonzero(found[start:end] == truth[start])
            delays += [float(told[0]) / frame_rate] if told.size else []
    if not changes:
        return {"changes": 0, "missed": None, "median": None, "p95": None}
    return {
        "changes": changes,
        "missed": 1 - len(delays) / changes,
        "median": float(np.median(delays)) if delays else None,
        "p95": float(np.quantile(delays, 0.95)) if delays else None,
    }


def decide_utterances(
    model: Model, recipe: Recipe, items: Sequence[AnyItem], advance: Advance | None = None
) -> Decisions:
    """The verdict on each item, heard from a fresh start to its end; the background where there is none."""
    card = model.card
    silent = 0 if card.background is None else card.labels.index(card.background)
    truth, found = [], []
    for number, item in enumerate(items):
        label = one_label(item)
        truth.append(truth_index(label, recipe, card, item.path))
        stream = Stream(model)
        told = [e.label for e in [*stream.push(samples_of(item, card)), *stream.close()] if isinstance(e, Detection)]
        found.append(card.labels.index(told[-1]) if told else silent)
        if advance is not None:
            advance(number + 1, len(items))
    return Decisions(np.array(truth), np.array(found), np.arange(len(items)), tuple(item.group for item in items))


def one_label(item: AnyItem) -> str:
    """The item's label. Raises `OtolithError` of a run that has several."""
    if not isinstance(item, Run):
        return item.label
    if len(labels := sorted(set(item.labels))) != 1:
        found = ", ".join(labels[:4])
        raise OtolithError(f"{item.path}: run {item.name} has {len(labels)} labels ({found}); an utterance has one")
    return item.labels[0]


def samples_of(item: AnyItem, card: Card) -> Samples:
    """What a stream is given of an item."""
    if isinstance(item, Line):
        assert isinstance(card.tokens, Tokens)  # noqa: S101 - lines are read for token models alone
        return item.encode(Tokenizer(card.tokens))
    return whole_of(item, round(card.sample_rate))


def _stretch(recipe: Recipe, card: Card) -> int:
    """How many samples get one decision."""
    assert isinstance(recipe.streams, Signals)  # noqa: S101 - no other recipe makes signals of recordings
    return max(card.hop_length, round(recipe.streams.stretch_s * card.sample_rate))


def truth_index(label: str, recipe: Recipe, card: Card, where: Path) -> int:
    """The model's label index for a data set's label. Raises `OtolithError` where the model has none for it."""
    return card.labels.index(map_label(label, card.labels, recipe.data.unknown, card.background, str(where)))


def _unit(card: Card) -> str:
    if card.kind == "sensor":
        return "runs" if card.task == "classify" else "rows"
    return "clips" if card.kind == "audio" else "lines"


def hear_clip(stream: Stream, samples: Floats) -> int:
    """The label index that a clip is decided to be, with a little silence behind it."""
    card = stream.model.card
    posteriors = hear(stream, samples, tail=round(TAIL_S * card.sample_rate) + card.hop_length)
    count = -(-(len(samples) + round(TAIL_S * card.sample_rate)) // card.hop_length)
    return decide(posteriors[:count], card.labels, card.background, card.frame_rate)


def hear(stream: Stream, samples: Floats, tail: int = 0) -> Floats:
    """Posteriors `(frames, labels)` of a whole recording and `tail` samples of silence."""
    values = push(stream, np.concatenate((samples, np.zeros((tail, *samples.shape[1:]), np.float32))))
    if not values:
        hop = stream.model.card.hop_length
        raise OtolithError(f"a recording of {len(samples)} samples fills no frame of {hop}")
    return np.concatenate(values)


def _group_figures(decisions: Decisions, name: str, unit: str) -> dict[str, Any]:
    here = np.array([group == name for group in decisions.groups])[decisions.item]
    return {unit: int(here.sum()), "accuracy": float((decisions.truth == decisions.found)[here].mean())}
