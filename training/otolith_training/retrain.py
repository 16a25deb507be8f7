"""The retraining: a model file learns on from new recordings, and replaces its parent only if it is no worse.

Weights, recipe and labels come from the file itself. New recordings are mixed with those it learned from, which are
found in the data folder and known by their fingerprint; where they are gone it learns little and carefully, since
nothing else would keep it from forgetting.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from otolith.errors import OtolithError
from otolith.inference.card import DataSet
from otolith.inference.model import Model
from otolith.trial import open_model
from otolith_training.data.datasets import NOISE_FOLDER, AnyItem, Clip, Run, fingerprint, read_clips, read_runs
from otolith_training.data.material import Items, describe_sets, list_items
from otolith_training.data.signals import format_of, read_signals, split_signals
from otolith_training.data.splits import assign_splits
from otolith_training.fit import fit
from otolith_training.measure.compare import compare
from otolith_training.measure.decisions import decide_all
from otolith_training.network.network import Network
from otolith_training.network.restore import restore
from otolith_training.recipe import Recipe, Rows, Signals
from otolith_training.recipe_file import parse_recipe, require_task
from otolith_training.train import finish

NEW_SHARE = 0.25  # of a label's training clips that should be new ones, if it takes showing them again and again
MOST_REPEATS = 20
LESS_EPOCHS, LESS_RATE = 3, 4.0  # with the old data: a third of the epochs, a quarter of the learning rate
CAREFUL_EPOCHS, CAREFUL_RATE = 6, 20.0  # without it


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learned from: old and new recordings, and whether the old ones are there."""

    recipe: Recipe
    text: str
    items: Items
    added: DataSet
    has_old: bool


def retrain(path: Path, added: Path, data: Path, out: Path | None, force: bool, console: Console) -> Model:
    """Retrain as `otolith retrain` does; returns the model that was written. Raises `OtolithError`.

    Without `out` the model takes its parent's place, which is kept beside it as `NAME.previous.onnx`.
    """
    parent = open_model(path)
    old = parse_recipe(parent.card.recipe, f"{path}: the card's recipe")
    require_task(old, "otolith retrain", "tag")
    lesson = prepare(parent, old, added, data, console)
    beside = (out or path).with_suffix(".retrained.onnx")
    fitted = fit(
        lesson.recipe,
        lesson.text,
        lesson.items,
        data,
        (out or path).with_suffix(".runs"),
        console,
        start=lambda fresh: grow(restore(path, old, fresh.frontend.factor), old, fresh, lesson.recipe),
    )
    fitted.sets.append(lesson.added)
    parents = [*parent.card.metrics.get("parents", []), parent.identity]
    child = finish(lesson.recipe, lesson.text, lesson.items, data, beside, fitted, console, {"parents": parents})
    figures = hold_against(child, parent, lesson)
    print_comparison(figures, console)
    if figures["worse"] and not force:
        raise OtolithError(
            f"{beside}: is worse than {parent.identity} beyond the interval; {path} stays as it is "
            "(bring more recordings, or take it all the same with --force)"
        )
    place(beside, out or path)
    console.print(f"{out or path}: {child.identity}, whose parent is {parent.identity}")
    return child


def prepare(parent: Model, old: Recipe, added: Path, data: Path, console: Console) -> Lesson:
    """Read both sets, tell what is new, and make the recipe that learns from them."""
    card = parent.card
    found: Items
    if isinstance(old.frontend, Rows):
        names = [channel.name for channel in old.frontend.channels]
        runs = assign_splits(read_runs(added, names, old.frontend.sample_rate))
        found, heard = runs, {label for run in runs for label in run.labels}
    else:
        clips = _signals(old, added) if isinstance(old.streams, Signals) else assign_splits(read_clips(added))
        found, heard = clips, {clip.label for clip in clips}
    new = sorted(heard - set(card.labels) - {NOISE_FOLDER})
    has_old = (data / old.data.path).exists()
    recipe, text = recipe_with(old, card.recipe, new, has_old)
    items: Any = list_items(recipe, data) if has_old else []
    if has_old:
        known = {s.fingerprint for s in card.data}
        if any(s.fingerprint not in known for s in describe_sets(recipe, items, data)):
            console.print(f"{data / old.data.path}: has changed since {parent.identity} learned from it")
    else:
        console.print(
            f"{data / old.data.path}: is not there (--data); learning from {added} alone, little and carefully: "
            "compare it on recordings of your own before you trust it"
        )
    console.print(f"{added}: {len(found)} recordings" + (f", new labels: {', '.join(new)}" if new else ""))
    name = added.resolve().name
    prints = {item.name: item.path for item in found}
    entry = DataSet(name, "the user's own", "the user's own", fingerprint(prints))
    return Lesson(recipe, text, [*items, *repeated(found, items)], entry, has_old)


def _signals(old: Recipe, added: Path) -> list[Clip]:
    columns = old.data.label_column, old.data.group_column
    return split_signals(read_signals(added, format_of(old), *columns), old.data.dev, old.data.test)


def recipe_with(old: Recipe, text: str, new: list[str], has_old: bool) -> tuple[Recipe, str]:
    """The recipe with the new labels, and its text; fewer epochs, a lower rate."""
    if new:
        labels = json.dumps([*old.data.labels, *new], ensure_ascii=False)
        text, count = re.subn(r"(?m)^labels\s*=\s*\[[^\]]*\]", lambda _: f"labels = {labels}", text, count=1)
        if count != 1:
            raise OtolithError(
                "the card's recipe does not list its labels in one place; add the label there and train anew"
            )
    recipe = parse_recipe(text, "the card's recipe")
    epochs, rate = (LESS_EPOCHS, LESS_RATE) if has_old else (CAREFUL_EPOCHS, CAREFUL_RATE)
    training = msgspec.structs.replace(
        recipe.training,
        epochs=max(1, recipe.training.epochs // epochs),
        learning_rate=recipe.training.learning_rate / rate,
    )
    data = recipe.data if has_old else msgspec.structs.replace(recipe.data, backgrounds=[])
    return msgspec.structs.replace(recipe, training=training, data=data), text


def repeated(found: Items, old: Items) -> Items:
    """New recordings, those for training as often as it takes for them to count beside the old ones."""
    counts = Counter(item.label for item in old if isinstance(item, Clip) and item.split == "train")
    own = Counter(item.label for item in found if isinstance(item, Clip) and item.split == "train")
    again: list[Any] = []
    for item in found:
        times = 1
        if isinstance(item, Clip) and item.split == "train":
            wanted = NEW_SHARE / (1 - NEW_SHARE) * counts[item.label]
            times = min(MOST_REPEATS, max(1, round(wanted / own[item.label])))
        again += [replace(item, name=f"added/{item.name}")] * times
    result: Items = again
    return result


def grow(parent: Network, old: Recipe, fresh: Network, recipe: Recipe) -> Network:
    """The parent's weights in a network that may know more labels; a new label begins where unknown ones stood."""
    stand_in = old.data.unknown or old.data.background or old.all_labels[0]
    columns = [old.all_labels.index(label if label in old.all_labels else stand_in) for label in recipe.all_labels]
    head = {f"head.{name}": value for name, value in parent.head.relabelled(columns).items()}
    fresh.load_state_dict({**parent.state_dict(), **head})
    return fresh


def hold_against(child: Model, parent: Model, lesson: Lesson) -> dict[str, Any]:
    """Both models on the same held-out recordings of the labels that both know."""
    shared = set(parent.card.labels)
    held_out: Any = []
    for split in ("test", "dev"):
        held_out = held_out or [item for item in lesson.items if item.split == split and _labels(item) <= shared]
    if not held_out:
        raise OtolithError("nothing is held out to compare on; bring more recordings, or name some in split test")
    decisions = [decide_all(model, lesson.recipe, held_out) for model in (child, parent)]
    figures = compare(decisions[0], child.card, decisions[1], parent.card)
    low, high = figures["accuracy"]["difference_interval"]
    return {**figures, "held_out": len(held_out), "worse": high < 0, "better": low > 0}


def print_comparison(figures: dict[str, Any], console: Console) -> None:
    """Old and new, side by side."""
    table = Table("on what was held out", "new", "parent", "difference", "95 % interval")
    for name in ("accuracy", "macro_f1"):
        of = figures[name]
        low, high = of["difference_interval"]
        told = [f"{of[key]:.3f}" for key in ("one", "other")]
        table.add_row(name.replace("_", " "), *told, f"{of['difference']:+.3f}", f"{low:+.3f} to {high:+.3f}")
    console.print(table)


def place(beside: Path, out: Path) -> None:
    """The retrained file and its card take their places; a parent that stood there is kept."""
    if out.exists():
        out.replace(out.with_suffix(".previous.onnx"))
    beside.replace(out)
    beside.with_suffix(".md").replace(out.with_suffix(".md"))


def _labels(item: AnyItem) -> set[str]:
    return set(item.labels) if isinstance(item, Run) else {item.label}
