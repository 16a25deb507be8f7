"""Cross-validation: a model a fold, each measured on speakers or subjects that it never met, and all of them pooled.

A figure on one held-out fifth is luck in the draw of twenty people; over all folds everyone is asked once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from otolith.errors import OtolithError, UsageError
from otolith.inference.card import DataSet
from otolith.inference.model import Model
from otolith_training.data.folds import Fold, count_groups, fold_of, make_folds
from otolith_training.data.material import Items, describe_sets, list_items
from otolith_training.data.texts import with_vocabulary
from otolith_training.fit import fit
from otolith_training.measure.decisions import Decisions, concatenate, decide_all, figures_of
from otolith_training.measure.long_tables import print_evaluation
from otolith_training.measure.tables import unit_of
from otolith_training.network.export import refuse_look_ahead
from otolith_training.recipe import Recipe, with_seed
from otolith_training.recipe_file import read_recipe, require_task
from otolith_training.train import finish

FIGURES = "crossvalidation.json"
FOLDS = 5
NAMED = 5  # in a line; crossvalidation.json names all


@dataclass(frozen=True, slots=True)
class Study:
    """What all folds share."""

    recipe: Recipe
    text: str
    items: Items
    data: Path
    out: Path
    sets: Sequence[DataSet]  # what the items are now: a fold trained on anything else is trained anew


def crossvalidate(
    recipe_path: Path,
    data: Path,
    out: Path | None,
    folds: int | None,
    leave_one_out: bool,
    seed: int | None,
    console: Console,
) -> dict[str, Any]:
    """Train and measure as `otolith crossvalidate` does; returns the figures, which `out` then holds as JSON too.

    A fold whose model is there already, from the same recipe, seed, data and draw, is measured again but not trained.
    Raises `OtolithError`.
    """
    if leave_one_out and folds is not None:
        raise UsageError("--folds with --leave-one-out; leave-one-out makes a fold a speaker: ask for either")
    recipe, text = read_recipe(recipe_path)
    recipe = with_seed(recipe, seed)
    refuse_look_ahead(recipe.network, str(recipe_path))
    require_task(recipe, "otolith crossvalidate", "tag", "classify")
    items = list_items(recipe, data)
    drawn = make_folds(items, count_groups(items) if leave_one_out else folds or FOLDS)
    out = out or Path(f"{recipe.name}-folds")
    out.mkdir(parents=True, exist_ok=True)
    study = Study(recipe, text, items, data, out, describe_sets(recipe, items, data))
    told, pooled = measure_folds(study, drawn, console)
    figures = {
        "recipe": recipe.name,
        "data": str(data / recipe.data.path),
        "kind": recipe.data.kind,
        "seed": recipe.training.seed,
        "leave_one_out": leave_one_out,
        "folds": told,
        "mean": mean_of(told),
        "pooled": pooled,
    }
    (out / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    console.print(f"wrote {out / FIGURES}", markup=False, soft_wrap=True)
    return figures


def measure_folds(study: Study, folds: Sequence[Fold], console: Console) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The figures of each fold on what was held out from it, and those of all of them pooled."""
    told: list[dict[str, Any]] = []
    heard: list[Decisions] = []
    for fold in folds:
        console.print(f"fold {fold.number} of {fold.of}: held out {named(fold.test)}", markup=False, soft_wrap=True)
        model, path, trained = train_fold(study, fold, console)
        held_out = [item for item in fold.assign(study.items) if item.split == "test"]
        heard.append(decide_all(model, study.recipe, held_out))
        origin = {"model": model.identity, "file": path.name, "trained": trained}
        told.append({**asdict(fold), **origin, **figures_of(heard[-1], model.card)})
    return told, figures_of(concatenate(heard), model.card)


def train_fold(study: Study, fold: Fold, console: Console) -> tuple[Model, Path, bool]:
    """The fold's model, its file, and whether it was trained now. Raises `OtolithError` where Ctrl-C ends it early."""
    path = study.out / f"{study.recipe.name}.fold-{fold.number}-of-{fold.of}.onnx"
    if (model := _trained_before(path, study, fold)) is not None:
        console.print(f"{path}: is there already, from the same recipe, seed and data", markup=False, soft_wrap=True)
        return model, path, False
    items = fold.assign(study.items)
    recipe = with_vocabulary(study.recipe, items)
    fitted = fit(recipe, study.text, items, study.data, path.with_suffix(".runs"), console)
    if fitted.interrupted:
        raise OtolithError(f"interrupted in fold {fold.number} of {fold.of}; the same command goes on with that fold")
    model = finish(recipe, study.text, items, study.data, path, fitted, console, {"fold": asdict(fold)})
    return model, path, True


def mean_of(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over folds, each counted alike: `accuracy`, `macro_f1`, and those of whole `runs`."""
    means: dict[str, Any] = {}
    for name in ("accuracy", "macro_f1"):
        values = np.array([fold[name] for fold in folds])
        means[name] = float(values.mean())
        means[f"{name}_deviation"] = float(values.std(ddof=1))
    if all("runs" in fold and isinstance(fold["runs"], Mapping) for fold in folds):
        means["runs"] = mean_of([fold["runs"] for fold in folds])
    return means


def print_crossvalidation(figures: Mapping[str, Any], console: Console) -> None:
    """A line a fold, their mean, and the pooled figures."""
    pooled, mean = figures["pooled"], figures["mean"]
    unit = unit_of(pooled)
    further = [name for name, there in (("delay", _delay(pooled)), ("whole runs", "runs" in pooled)) if there]
    table = Table("fold", "held out")
    for name in (unit, "accuracy", "macro-F1", *further):
        table.add_column(name, justify="right")
    for fold in figures["folds"]:
        cells = [named(fold["test"]), f"{fold[unit]:,}", f"{fold['accuracy']:.1%}", f"{fold['macro_f1']:.3f}"]
        if "delay" in further:
            cells.append(_delay(fold))
        if "whole runs" in further:
            cells.append(f"{fold['runs']['accuracy']:.1%}" if "runs" in fold else "")
        table.add_row(str(fold["number"]), *map(escape, cells))
    cells = ["", "", f"{mean['accuracy']:.1%}", f"{mean['macro_f1']:.3f}"]
    cells += ["" if name == "delay" or "runs" not in mean else f"{mean['runs']['accuracy']:.1%}" for name in further]
    table.add_row("mean", *cells)
    console.print(table)
    heading = {"model": figures["recipe"], "data": figures["data"], "split": f"test of {len(figures['folds'])} folds"}
    print_evaluation({**heading, **pooled}, console)


def _delay(figures: Mapping[str, Any]) -> str:
    """The median delay of a new label; nothing where no label changes, or no change was told."""
    median = figures.get("delay_s", {}).get("median")
    return "" if median is None else f"{median:.2f} s"


def named(groups: Sequence[str]) -> str:
    """The first few of who is held out, and how many there are."""
    more = f", ... ({len(groups)} in all)" if len(groups) > NAMED else ""
    return ", ".join(groups[:NAMED]) + more


def _trained_before(path: Path, study: Study, fold: Fold) -> Model | None:
    """The fold's model, if its file was made of the very same things."""
    if not path.is_file():
        return None
    try:
        model = Model.open(path)
        drawn = fold_of(model.card)
    except OtolithError:  # broken, or another format's: trained anew
        return None
    card = model.card
    same = (
        drawn == fold
        and card.recipe == study.text
        and card.made.seed == study.recipe.training.seed
        and [entry.fingerprint for entry in card.data] == [entry.fingerprint for entry in study.sets]
    )
    return model if same else None
