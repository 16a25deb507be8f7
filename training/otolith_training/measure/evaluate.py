"""The evaluation: a model file over a folder of recordings, through the daemon's own `Stream`; needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from otolith.errors import OtolithError, UsageError
from otolith.inference.card import Card, Tokens
from otolith.inference.model import Model
from otolith.trial import Trial
from otolith_training.data.datasets import (
    MANIFEST,
    SPLIT_NAMES,
    AnyItem,
    Clip,
    Line,
    Run,
    fingerprints,
    matches,
    read_clips,
    read_manifest,
    read_runs,
)
from otolith_training.data.folds import fold_of
from otolith_training.data.material import Items
from otolith_training.data.signals import Signal, format_of, read_signals, split_signals
from otolith_training.data.splits import assign_splits
from otolith_training.data.texts import read_passages, read_texts, split_lines
from otolith_training.measure.compare import compare, compare_long
from otolith_training.measure.decisions import decide_all, figures_of
from otolith_training.measure.exhibits import Exhibits, from_clips, from_runs, from_tracks
from otolith_training.measure.forecasts import evaluate_forecasts
from otolith_training.measure.language import measure_language
from otolith_training.measure.longrun import listen_long
from otolith_training.measure.soak import soak, soak_long
from otolith_training.measure.tracks import EVENTS, Advance
from otolith_training.recipe import Data, Recipe, Signals
from otolith_training.recipe_file import parse_recipe

EVERYTHING = "all"

Rule = Callable[[list[Any]], Any]  # clips or runs, and the same with a split each


def evaluate(
    path: Path,
    data: Path,
    split: str | None = None,
    advance: Advance | None = None,
    *,
    soaked: bool = False,
    other: Path | None = None,
    report: Path | None = None,
) -> dict[str, Any]:
    """The figures of the model at `path` over `data`, ready for JSON.

    `split` is `train`, `dev`, `test` or `all`; None: test where the set has splits, else all of it. A set has splits
    where its manifest names them, or where the model learned from this very set (by fingerprint): then the recipe's
    own rule holds, or that of its fold. A folder with `events.csv` is long recordings, which are measured as streams.

    `soaked` adds the same test after minutes of carried state, `other` puts a second model beside, on the same data;
    `report` is a page to write of it all. Raises `OtolithError`.
    """
    if split is not None and split not in (*SPLIT_NAMES.values(), EVERYTHING):
        raise UsageError(f"--split {split!r}; it can be train, dev, test or {EVERYTHING}")
    with Trial() as trial:
        model = trial.open(path)
        rival = None if other is None else trial.open(other)
    if rival is not None:
        _require_like(rival, model)
    if model.card.output == "forecast":
        if soaked or rival is not None or report is not None:
            raise UsageError("--soak, --compare and --report are for models that tell labels; leave them out")
        return evaluate_forecasts(model, data, split)
    if model.card.is_language and (soaked or report is not None):
        raise UsageError("--soak and --report are for models that tell labels, and text has no minutes; leave them out")
    test = _LanguageTest if model.card.is_language else _LongTest if (data / EVENTS).is_file() else _ClipTest
    done = test(model, data, split, advance)
    figures = {"model": model.identity, "data": str(data), "split": done.split, "kind": model.card.kind, **done.figures}
    if soaked:
        figures["soak"] = done.soak(advance)
    if rival is not None:
        figures["compare"] = {"model": rival.identity, **done.against(rival, advance)}
    if report is not None:
        from otolith_training.measure.report import write_report  # here: matplotlib takes a second

        write_report(report, figures, done.exhibits())
    return figures


class _ClipTest:
    """Clips or rows: a decision each."""

    def __init__(self, model: Model, data: Path, split: str | None, advance: Advance | None) -> None:
        self._model = model
        self._recipe = parse_recipe(model.card.recipe, f"{model.card.name}: the card's recipe")
        self._items, self.split = choose(model.card, self._recipe, data, split)
        self._decisions = decide_all(model, self._recipe, self._items, advance)
        self.figures = figures_of(self._decisions, model.card)

    def soak(self, advance: Advance | None) -> list[dict[str, Any]]:
        if self._model.card.task == "classify":
            raise UsageError("--soak: an utterance starts afresh, so nothing is carried into it; leave it out")
        return soak(self._model, self._recipe, self._items, advance)

    def against(self, rival: Model, advance: Advance | None) -> dict[str, Any]:
        recipe = parse_recipe(rival.card.recipe, f"{rival.card.name}: the card's recipe")
        decisions = decide_all(rival, recipe, self._items, advance)
        return compare(self._decisions, self._model.card, decisions, rival.card)

    def exhibits(self) -> Exhibits:
        if self._model.card.task == "classify":
            return Exhibits(round(self._model.card.sample_rate))
        clips = [item for item in self._items if isinstance(item, Clip) and not isinstance(item, Signal)]
        runs = [item for item in self._items if isinstance(item, Run | Signal)]
        return (
            from_clips(self._model, clips, self._decisions) if clips else from_runs(self._model, runs, self._decisions)
        )


class _LanguageTest:
    """Passages: how well each next token is forecast."""

    def __init__(self, model: Model, data: Path, split: str | None, advance: Advance | None) -> None:
        self._model = model
        recipe = parse_recipe(model.card.recipe, f"{model.card.name}: the card's recipe")
        self._items, self.split = choose(model.card, recipe, data, split)
        self.figures = measure_language(model, self._items, advance)

    def soak(self, advance: Advance | None) -> list[dict[str, Any]]:
        raise NotImplementedError  # nor has it exhibits: who asked for either was told at the door

    def against(self, rival: Model, advance: Advance | None) -> dict[str, Any]:
        other = measure_language(rival, self._items, advance)
        mine = self.figures["bits_per_token"]
        difference = mine - other["bits_per_token"]
        return {"bits_per_token": {"one": mine, "other": other["bits_per_token"], "difference": difference}}

    def exhibits(self) -> Exhibits:
        raise NotImplementedError


class _LongTest:
    """Long recordings: what is detected in them, held against their events."""

    def __init__(self, model: Model, data: Path, split: str | None, advance: Advance | None) -> None:
        self._model = model
        self._data = data
        named = {row.get("split") for row in read_manifest(data)} if (data / MANIFEST).is_file() else set()
        self.split = split or ("test" if any(SPLIT_NAMES.get(name or "") == "test" for name in named) else EVERYTHING)
        self._split = None if self.split == EVERYTHING else self.split
        self.figures, self._recordings, self._tracks = listen_long(model, data, self._split, advance)

    def soak(self, advance: Advance | None) -> list[dict[str, Any]]:
        return soak_long(self._model, self._recordings, advance)

    def against(self, rival: Model, advance: Advance | None) -> dict[str, Any]:
        figures, _, tracks = listen_long(rival, self._data, self._split, advance)
        return compare_long(self.figures, self._tracks, self._model.card, figures, tracks, rival.card)

    def exhibits(self) -> Exhibits:
        return from_tracks(self._model, self._recordings, self._tracks)


def _require_like(rival: Model, model: Model) -> None:
    """Raise `UsageError` unless both take the same input."""
    a, b = model.card, rival.card
    if (a.kind, a.sample_rate, a.channels, a.task) != (b.kind, b.sample_rate, b.channels, b.task):
        raise UsageError(
            f"--compare: {rival.identity} takes {b.kind} at {b.sample_rate:g} Hz, {model.identity} {a.kind} at "
            f"{a.sample_rate:g} Hz (or other channels); compare models that take the same input"
        )


def choose(card: Card, recipe: Recipe, data: Path, split: str | None) -> tuple[Items, str]:
    """The recordings to measure on, and the name of their split."""
    d = recipe.data
    if isinstance(recipe.streams, Signals):
        return _choose_signals(card, recipe, data, split)
    known = _is_known(card, recipe, data)
    rule = _rule(card, d) if known else None
    layout = (d.label_column, d.group_column, d.files) if known else ("label", "", [])
    if isinstance(card.tokens, Tokens):
        return _choose(_read_lines(card, card.tokens, data, layout), split_lines if known else None, data, split)
    if card.kind == "audio":
        return _choose(read_clips(data, *layout), rule, data, split)
    names = [channel.name for channel in card.channels]
    return _choose(read_runs(data, names, card.sample_rate, *layout), rule, data, split)


def _choose_signals(card: Card, recipe: Recipe, data: Path, split: str | None) -> tuple[Items, str]:
    """As `choose`, of signals, which are read once: reading them is decoding them."""
    d, home = recipe.data, data if data.is_dir() else data.parent
    here = (path.relative_to(home).as_posix() for path in home.glob("**/*"))
    patterns = d.files if any(matches(name, d.files) for name in here) else ()  # of another set its names say nothing
    signals = read_signals(data, format_of(recipe), d.label_column, d.group_column, patterns)
    files = {signal.path.relative_to(home).as_posix(): signal.path for signal in signals}
    known = set(fingerprints(files)) <= {entry.fingerprint for entry in card.data}
    fold = fold_of(card) if known else None

    def as_learned(signals: list[Any]) -> Any:
        parts = split_signals(signals, d.dev, d.test)
        return parts if fold is None else fold.assign(parts)

    rule: Rule | None = as_learned if known else split_signals if split not in (None, EVERYTHING) else None
    return _choose(list(signals), rule, data, split)


def measure(model: Model, recipe: Recipe, items: Sequence[AnyItem], advance: Advance | None = None) -> dict[str, Any]:
    """Figures of `items` (all clips, signals, runs or lines): a decision a clip, stretch or line, or one a row; or how
    well each next token is forecast."""
    if model.card.is_language:
        return measure_language(model, items, advance)
    return figures_of(decide_all(model, recipe, items, advance), model.card)


def _rule(card: Card, d: Data) -> Rule:
    """How the model's own data were split: as its recipe says, or as its fold was drawn."""
    if (fold := fold_of(card)) is not None:
        return fold.assign
    return lambda items: assign_splits(items, d.dev, d.test)


def _choose(items: list[Any], rule: Rule | None, data: Path, split: str | None) -> tuple[list[Any], str]:
    named = any(item.split is not None for item in items)
    split = split or ("test" if named or rule is not None else EVERYTHING)
    if split == EVERYTHING:
        return items, split
    own = split_lines if isinstance(items[0], Line) else assign_splits
    assigned = (rule or own)(items)
    chosen = [item for item in assigned if item.split == split]
    if not chosen:
        raise OtolithError(f"{data}: nothing falls into the split {split!r}; name another with --split")
    return chosen, split


def _read_lines(card: Card, tokens: Tokens, data: Path, layout: tuple[str, str, list[str]]) -> list[Line]:
    """Labelled lines, or passages where the next token is forecast."""
    if card.is_language:
        return read_passages(data)
    label_column, group_column, _ = layout
    return read_texts(data, tokens.cut, label_column, group_column)


def _is_known(card: Card, recipe: Recipe, data: Path) -> bool:
    """Whether the model learned from this very set."""
    d = recipe.data
    layout = (d.label_column, d.group_column, d.files)
    learned = {entry.fingerprint for entry in card.data}
    try:
        if isinstance(card.tokens, Tokens):
            lines = _read_lines(card, card.tokens, data, layout)
            files = {line.path.relative_to(data).as_posix(): line.path for line in lines}
        elif card.kind == "audio":
            files = {clip.name: clip.path for clip in read_clips(data, *layout)}
        elif data.is_file():
            files = {data.name: data}
        else:
            names = [channel.name for channel in card.channels]
            runs = read_runs(data, names, card.sample_rate, *layout)
            files = {run.path.relative_to(data).as_posix(): run.path for run in runs}
    except OtolithError:
        return False
    return all(found in learned for found in fingerprints(files))
