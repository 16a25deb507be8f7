"""The comparison of cells: each trained alike on the same data, then measured; what one gets for what it costs.

Alike means the same streams in the same order, as many steps, the same batch and chunk, and as many units: a cell with
more gates has more weights, and the figures say how many.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from otolith.errors import OtolithError, UsageError
from otolith.inference.model import Model
from otolith_training.course import Course, make_course
from otolith_training.data.composer import Chunk
from otolith_training.data.material import Items, list_items
from otolith_training.fit import Fitted, fit
from otolith_training.measure.cell_plot import draw_comparison
from otolith_training.measure.cost import step_costs_us
from otolith_training.measure.gradients import gradients_through_time, reach
from otolith_training.network.cards import make_card, versions
from otolith_training.network.export import export
from otolith_training.network.network import Network, make_network
from otolith_training.recipe import CellName, Recipe
from otolith_training.recipe_edit import Setting, with_settings
from otolith_training.recipe_file import read_recipe, require_task
from otolith_training.train import examples_of

FIGURES = "cells.json"
PLOT = "cells"
LEGEND = """\
Accuracy and F1 are of the development split. lost: how long ago a thing must
be for its gradient to be under 1 %, before training and behind it. us: what a
frame takes in the runtime, of one stream and of each of 64. What reads 2 ways
hears the end first: it bounds what looking ahead buys; nothing live can do so."""
GRADIENT_CHUNKS = 5  # the first of which is not measured


@dataclass(frozen=True, slots=True)
class Budget:
    """What every cell is given; None leaves what the recipe says."""

    epochs: int | None = None
    steps_per_epoch: int | None = None
    seed: int | None = None

    @property
    def settings(self) -> dict[str, Setting]:
        """As settings of a recipe's `[training]`."""
        every = {"epochs": self.epochs, "steps_per_epoch": self.steps_per_epoch, "seed": self.seed}
        return {name: value for name, value in every.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Study:
    """What all cells share."""

    recipe: Recipe
    text: str
    items: Items
    data: Path
    course: Course
    heard: Sequence[Chunk]  # that gradients are measured on
    out: Path


@dataclass(frozen=True, slots=True)
class Variant:
    """A cell, one way or both ways."""

    cell: CellName
    bidirectional: bool

    @property
    def name(self) -> str:
        """As the table and the files have it."""
        return f"{self.cell}-2-ways" if self.bidirectional else self.cell


def compare_cells(
    recipe_path: Path, data: Path, out: Path | None, cells: str, bidirectional: bool, budget: Budget, console: Console
) -> dict[str, Any]:
    """Compare as `otolith compare` does; returns the figures, which `out` then holds as JSON, beside the plot.

    A cell whose training was finished in `out` before is not trained again. Raises `OtolithError`.
    """
    recipe, text = read_recipe(recipe_path)
    variants = list_variants(cells, recipe.network.cell if bidirectional else None)
    recipe, text = with_settings(text, str(recipe_path), {"training": budget.settings})
    require_task(recipe, "otolith compare", "tag")
    items = list_items(recipe, data)
    console.print(f"reading {data / recipe.data.path}", markup=False, soft_wrap=True)
    course = make_course(recipe, text, items, data)
    composer = course.streams(0)
    out = out or Path(f"{recipe.name}-cells")
    study = Study(recipe, text, items, data, course, [composer.next() for _ in range(GRADIENT_CHUNKS)], out)
    told: list[dict[str, Any]] = []
    models: dict[str, Model] = {}
    for variant in variants:
        console.rule(variant.name)
        figures, model = study_variant(study, variant, console)
        told.append(figures)
        models |= {variant.name: model} if model is not None else {}
    costs = step_costs_us(models)
    told = [{**figures, "step_us": costs.get(figures["name"])} for figures in told]
    return _write(study, told, console)


def list_variants(cells: str, both_ways: CellName | None) -> list[Variant]:
    """The cells of a list with commas, and one that is to read both ways. Raises `UsageError`."""
    known, names = get_args(CellName), cells.split(",")
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--cells: {', '.join(unknown)}; name some of {','.join(known)}")
    one_way = [Variant(cast("CellName", name), bidirectional=False) for name in dict.fromkeys(names)]
    return one_way if both_ways is None else [*one_way, Variant(both_ways, bidirectional=True)]


def study_variant(study: Study, variant: Variant, console: Console) -> tuple[dict[str, Any], Model | None]:
    """The figures of a variant, trained now or before, and its model if it can be stepped."""
    network_settings: dict[str, Setting] = {"cell": variant.cell, "bidirectional": variant.bidirectional}
    recipe, text = with_settings(study.text, study.recipe.name, {"network": network_settings})
    runs = study.out / f"{variant.name}.runs"
    fitted = fit(recipe, text, study.items, study.data, runs, console, resume=True, course=study.course)
    if fitted.interrupted:
        raise OtolithError(f"interrupted in {variant.name}; the same command goes on with that cell")
    figures = {"name": variant.name, "cell": variant.cell, "bidirectional": variant.bidirectional}
    figures |= figures_of(fitted) | {"gradient": _gradients(study, recipe, fitted.network)}
    if variant.bidirectional:
        return figures, None
    card = make_card(recipe, text, fitted.sets, {"rehearsal": fitted.metrics}, recipe.training.seed)
    path = study.out / f"{recipe.name}.{variant.name}.onnx"
    return figures, export(fitted.network, card, examples_of(recipe, study.items), path)


def figures_of(fitted: Fitted) -> dict[str, Any]:
    """What was trained, how it went, and what came of it on the development split."""
    network, metrics = fitted.network, fitted.metrics
    state = network.fresh_state(1)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "state": sum(value.numel() for name, value in state.items() if name.startswith(("hidden_", "cell_"))),
        "epoch": fitted.epoch,
        "accuracy": metrics["accuracy"],
        "f1": metrics["macro_f1"] if "macro_f1" in metrics else metrics["stream_f1"],
        "metrics": metrics,
        "train_s": sum(record["seconds"] for record in fitted.history),
        "gradient_norm": [record["gradient_norm"] for record in fitted.history],
        "score": [record["score"] for record in fitted.history],
    }


def _gradients(study: Study, recipe: Recipe, trained: Network) -> dict[str, Any]:
    """Gradients through time of the trained network, and of one with the weights that training begins from."""
    torch.manual_seed(recipe.training.seed)
    fresh = make_network(recipe)
    fresh.frontend.load_state_dict(trained.frontend.state_dict())
    told: dict[str, Any] = {}
    for name, network in (("fresh", fresh), ("trained", trained)):
        norms = gradients_through_time(network, study.heard)
        told[name] = {"norms": norms.tolist(), "lost_after_frames": reach(norms)}
    return told


def _write(study: Study, told: Sequence[Mapping[str, Any]], console: Console) -> dict[str, Any]:
    """Write figures and plot; returns the figures."""
    training, card = study.recipe.training, make_card(study.recipe, study.text)
    figures = {
        "recipe": study.recipe.name,
        "data": str(study.data / study.recipe.data.path),
        "kind": study.recipe.data.kind,
        "budget": {
            "steps": training.epochs * training.steps_per_epoch,
            "epochs": training.epochs,
            "batch": training.batch,
            "chunk_frames": training.chunk_frames,
        },
        "network": {"layers": study.recipe.network.layers, "hidden": study.recipe.network.hidden},
        "seed": training.seed,
        "frame_s": 1 / card.frame_rate,
        "versions": versions(),
        "cells": list(told),
    }
    study.out.mkdir(parents=True, exist_ok=True)
    (study.out / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    draw_comparison(figures, heading_of(figures), study.out / PLOT)
    console.print(f"wrote {study.out / FIGURES}, {PLOT}.svg and {PLOT}.png", markup=False, soft_wrap=True)
    return figures


def print_comparison(figures: Mapping[str, Any], console: Console) -> None:
    """A line a cell, and what its columns mean."""
    table = Table(
        "cell",
        title=heading_of(figures),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    f1 = "macro-F1" if "macro_f1" in figures["cells"][0]["metrics"] else "stream F1"
    for name in ("weights", "accuracy", f1, "lost,\nfresh", "lost,\ntrained", "us,\nalone", "us,\nof 64"):
        table.add_column(name, justify="right")
    for cell in figures["cells"]:
        lost = [_seconds(cell["gradient"][which], figures["frame_s"]) for which in ("fresh", "trained")]
        costs = [f"{cost:.1f}" for cost in (cell["step_us"] or {}).values()] or ["-", "-"]
        scores = [f"{cell['accuracy']:.1%}", f"{cell['f1']:.3f}"]
        table.add_row(cell["name"], f"{cell['parameters']:,}", *scores, *lost, *costs)
    console.print(table)
    console.print(LEGEND)


def heading_of(figures: Mapping[str, Any]) -> str:
    """What all cells were given."""
    budget, network = figures["budget"], figures["network"]
    return (
        f"{figures['recipe']}: {network['layers']} x {network['hidden']} units, {budget['steps']:,} steps of "
        f"{budget['batch']} streams x {budget['chunk_frames']} frames"
    )


def _seconds(gradient: Mapping[str, Any], frame_s: float) -> str:
    """When a gradient is lost; `> 2.0 s` where it is not within the chunk."""
    frames = gradient["lost_after_frames"]
    return f"> {len(gradient['norms']) * frame_s:.1f} s" if frames is None else f"{frames * frame_s:.2f} s"
