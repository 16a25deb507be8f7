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
from otolith.inference.stream import Stream
from otolith.recordings import load_audio
from otolith_training.course import clip_composer, rehearsal_streams
from otolith_training.data.datasets import Clip, Run
from otolith_training.data.material import Items, list_items, load_rows, load_sound
from otolith_training.fit import Fitted, fit
from otolith_training.measure.choose import choose
from otolith_training.measure.composed import compose_tracks
from otolith_training.measure.decisions import hear
from otolith_training.measure.evaluate import measure
from otolith_training.measure.intervals import hours_for
from otolith_training.measure.tables import to_markdown
from otolith_training.measure.tracks import tracks_of_labels
from otolith_training.network.cards import make_card
from otolith_training.network.export import export
from otolith_training.recipe import Clips, Recipe, read_recipe, with_seed

KEPT = (
    "clips", "rows", "runs", "accuracy", "accuracy_interval", "macro_f1", "macro_f1_interval", "interval_over",
    "delay_s", "per_label",
)  # fmt: skip
CHOICE_STREAMS = 16
CHOICE_SEED = 11  # other streams than those that chose the epoch
MOST_HOURS = 12.0  # streams are composed of a few minutes of held-out sound: more hours of it tell little more


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
    out = out or Path(f"{recipe.name}.onnx")
    runs = runs or out.with_suffix(".runs")
    items = list_items(recipe, data)
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
    examples = _examples(recipe, items)
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
        streams = {name.removeprefix("stream_"): v for name, v in fitted.metrics.items() if name.startswith("stream_")}
        if recipe.detector.false_alarms_per_hour is not None:
            triggers, streams = choose_triggers(model, recipe, data, items)
            card = msgspec.structs.replace(card, detector=triggers)
            console.print(
                f"dev streams: {streams['missed']:.1%} missed at {streams['false_alarms_per_hour']:.2g} an hour"
            )
        for split in ("dev", "test"):
            chosen: Any = [item for item in items if item.split == split]
            if chosen:
                metrics[split] = _kept(measure(model, recipe, chosen))
                told = metrics[split]
                console.print(f"{split}: accuracy {told['accuracy']:.1%}, macro-F1 {told['macro_f1']:.3f}")
    finally:
        unmeasured.unlink(missing_ok=True)
    if streams:
        metrics["dev streams"] = streams
    model = export(fitted.network, msgspec.structs.replace(card, metrics=metrics), examples, out)
    size = out.stat().st_size
    out.with_suffix(".md").write_text(to_markdown(model.card, size), encoding="utf-8")
    console.print(f"wrote {out} ({size / 1000:.0f} kB, {model.identity}) and its card {out.with_suffix('.md')}")
    return model


def choose_triggers(
    model: Model, recipe: Recipe, data: Path, items: Sequence[Clip] | Sequence[Run]
) -> tuple[dict[str, Trigger], dict[str, Any]]:
    """Triggers within the recipe's budget, chosen on development streams, and what to expect of them."""
    d = recipe.detector
    budget = d.false_alarms_per_hour or 0.0
    if isinstance(recipe.streams, Clips):
        sound = load_sound(recipe, [item for item in items if isinstance(item, Clip)], data, "dev")
        settings = rehearsal_streams(recipe.streams)
        frames = round(model.card.frame_rate * 2)
        composer = clip_composer(recipe, sound, settings, CHOICE_STREAMS, frames, CHOICE_SEED)
        tracks = compose_tracks(model, composer, min(MOST_HOURS, 2 * hours_for(budget)))
    else:
        rows = load_rows(recipe, [item for item in items if isinstance(item, Run)], "dev")
        names = [[recipe.all_labels[label] for label in labels] for labels in rows.labels]
        heard = [(run.name, hear(Stream(model), run.values)) for run in rows.runs]
        tracks = tracks_of_labels(model.card, [(*of, labels) for of, labels in zip(heard, names, strict=True)])
    triggers, expected = choose(tracks, model.card, budget, d.label_false_alarms_per_hour)
    return triggers, {"budget_false_alarms_per_hour": budget, **expected}


def _examples(recipe: Recipe, items: Items) -> list[NDArray[np.float32]]:
    """A few real recordings for the export to agree on."""
    return [
        load_audio(item.path, round(recipe.frontend.sample_rate)) if isinstance(item, Clip) else item.values
        for item in items[:: max(1, len(items) // 4)]
    ]


def _kept(figures: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: figures[name] for name in KEPT if name in figures}
    if isinstance(runs := kept.get("runs"), Mapping):
        kept["runs"] = _kept(runs)
    return kept
