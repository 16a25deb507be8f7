"""The training, whole: read a recipe, fit, export, measure the file with the daemon's stream, write its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from otolith.inference.card import Trigger
from otolith.inference.model import Model
from otolith_training.data.datasets import AnyItem, Line
from otolith_training.data.material import Items, list_items
from otolith_training.data.signals import whole_of
from otolith_training.data.texts import tokenizer_of, with_vocabulary
from otolith_training.expect import choose_triggers, tell_streams
from otolith_training.fit import Fitted, fit
from otolith_training.measure.evaluate import measure
from otolith_training.measure.forecasts import brief, measure_forecasts, told_of
from otolith_training.measure.tables import in_short, to_markdown
from otolith_training.network.cards import make_card
from otolith_training.network.export import export, refuse_look_ahead
from otolith_training.recipe import Clips, Recipe, Tokens, with_seed
from otolith_training.recipe_file import read_recipe

KEPT = (
    "clips", "rows", "runs", "lines", "stretches", "tokens", "bits_per_token", "perplexity", "accuracy",
    "accuracy_interval", "macro_f1", "macro_f1_interval", "interval_over", "delay_s", "per_label",
)  # fmt: skip


def train(
    recipe_path: Path,
    data: Path,
    out: Path | None,
    seed: int | None,
    console: Console,
    runs: Path | None = None,
    resume: bool = False,
) -> Model:
    """Train and export as `otolith train` does; returns the model that was written. Raises `OtolithError`.

    `runs` is the folder of logbooks, `NAME.runs` beside the model file if none is named.
    """
    recipe, text = read_recipe(recipe_path)
    recipe = with_seed(recipe, seed)
    refuse_look_ahead(recipe.network, str(recipe_path))  # now, not after an hour of training
    out = out or Path(f"{recipe.name}.onnx")
    runs = runs or out.with_suffix(".runs")
    items = list_items(recipe, data)
    recipe = with_vocabulary(recipe, items)
    fitted = fit(recipe, text, items, data, runs, console, resume=resume)
    if fitted.interrupted:
        console.print(f"interrupted: exporting epoch {fitted.epoch}; the same command with --resume goes on")
    return finish(recipe, text, items, data, out, fitted, console)


def finish(
    recipe: Recipe,
    text: str,
    items: Items,
    data: Path,
    out: Path,
    fitted: Fitted,
    console: Console,
    origin: Mapping[str, Any] | None = None,
) -> Model:
    """Export a fitted network, measure the file, and write it again with the figures on its card.

    `origin` stands on the card beside them: `parents`, the models it was retrained from, the first one first; or
    `fold`, who of the data was held out from it (`crossvalidate.py`).
    """
    examples = examples_of(recipe, items)
    metrics: dict[str, Any] = {
        "parameters": sum(p.numel() for p in fitted.network.parameters()),
        "epochs": fitted.epoch,
        "limits": recipe.limits,
        **(origin or {}),
    }
    card = make_card(recipe, text, fitted.sets, metrics, recipe.training.seed)
    unmeasured = out.with_suffix(".unmeasured.onnx")
    try:
        model = export(fitted.network, card, examples, unmeasured)
        card = model.card
        triggers, streams = _on_streams(model, recipe, data, items, fitted, console, folded="fold" in (origin or {}))
        metrics |= {**_on_splits(model, recipe, items, console), **streams}
    finally:
        unmeasured.unlink(missing_ok=True)
    model = export(fitted.network, msgspec.structs.replace(card, metrics=metrics, detector=triggers), examples, out)
    size = out.stat().st_size
    out.with_suffix(".md").write_text(to_markdown(model.card, size), encoding="utf-8")
    console.print(f"wrote {out} ({size / 1000:.0f} kB, {model.identity}) and its card {out.with_suffix('.md')}")
    return model


def _on_streams(
    model: Model, recipe: Recipe, data: Path, items: Items, fitted: Fitted, console: Console, *, folded: bool
) -> tuple[dict[str, Trigger], dict[str, Any]]:
    """The triggers, and what to expect of them on streams: chosen on dev where there is a budget, told on test."""
    if recipe.detector.false_alarms_per_hour is None:
        seen = {name.removeprefix("stream_"): v for name, v in fitted.metrics.items() if name.startswith("stream_")}
        return dict(model.card.detector), {"dev streams": seen} if seen else {}
    triggers, expected = choose_triggers(model, recipe, data, items)
    figures: dict[str, Any] = {"dev streams": expected}
    if isinstance(recipe.streams, Clips) and not folded and any(item.split == "test" for item in items):
        figures["test streams"] = tell_streams(model, triggers, recipe, data, items)
    for name, told in figures.items():
        console.print(f"{name}: {told['missed']:.1%} missed at {told['false_alarms_per_hour']:.2g} an hour")
    return triggers, figures


def _on_splits(model: Model, recipe: Recipe, items: Items, console: Console) -> dict[str, Any]:
    """Figures of the clips or rows of dev and of test."""
    figures: dict[str, Any] = {}
    for split in ("dev", "test"):
        chosen: Any = [item for item in items if item.split == split]
        if chosen and recipe.forecast is not None:
            told = figures[split] = brief(measure_forecasts(model, recipe, chosen))
            console.print(f"{split}: {told_of(told)}")
        elif chosen:
            told = figures[split] = _kept(measure(model, recipe, chosen))
            console.print(f"{split}: {in_short(told)}")
    return figures


def examples_of(recipe: Recipe, items: Items) -> list[NDArray[np.float32] | NDArray[np.int64]]:
    """A few real recordings for the export to agree on."""
    chosen: Sequence[AnyItem] = items[:: max(1, len(items) // 4)]
    if isinstance(recipe.frontend, Tokens):
        tokenizer = tokenizer_of(recipe.frontend)
        return [item.encode(tokenizer) for item in chosen if isinstance(item, Line)]
    rate = round(recipe.frontend.sample_rate)
    return [whole_of(item, rate) for item in chosen if not isinstance(item, Line)]


def _kept(figures: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: figures[name] for name in KEPT if name in figures}
    if "stretches" in figures:
        kept["per_group"] = figures["per_group"]  # loads or machines: few, unlike speakers
    if isinstance(runs := kept.get("runs"), Mapping):
        kept["runs"] = _kept(runs)
    return kept
