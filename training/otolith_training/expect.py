"""What to expect of a model on streams: triggers chosen on development streams, and told on test streams.

Both are composed of what training never met: other speakers over other stretches of background, each split its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from otolith.inference.card import Trigger
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith_training.course import clip_composer, living_streams
from otolith_training.data.datasets import AnyItem, Clip, Run, Split
from otolith_training.data.material import load_rows, load_sound
from otolith_training.measure.choose import choose
from otolith_training.measure.composed import compose_tracks
from otolith_training.measure.decisions import hear
from otolith_training.measure.longrun import figures_of
from otolith_training.measure.tracks import Track, tracks_of_labels
from otolith_training.recipe import Clips, Recipe

STREAMS = 16
DEV_SEED = 11  # other streams than those that chose the epoch
TEST_SEED = 12
DEV_HOURS = TEST_HOURS = 10.0  # composed of a few minutes of held-out sound: more hours of it tell little more
KEPT = (
    "events", "missed", "missed_interval", "false_alarms", "false_alarms_per_hour", "false_alarms_per_hour_interval",
    "delay_s",
)  # fmt: skip

Items = Sequence[AnyItem]


def choose_triggers(
    model: Model, recipe: Recipe, data: Path, items: Items
) -> tuple[dict[str, Trigger], dict[str, Any]]:
    """Triggers within the recipe's budget, chosen on development streams, and what is expected there of them."""
    d = recipe.detector
    budget = d.false_alarms_per_hour or 0.0
    if isinstance(recipe.streams, Clips):
        tracks = _composed(model, recipe, data, items, "dev", DEV_HOURS)
    else:
        tracks = _runs(model, recipe, items)
    triggers, expected = choose(tracks, model.card, budget, d.label_false_alarms_per_hour)
    return triggers, {"budget_false_alarms_per_hour": budget, **expected}


def tell_streams(
    model: Model, triggers: Mapping[str, Trigger], recipe: Recipe, data: Path, items: Items
) -> dict[str, Any]:
    """Figures of `TEST_HOURS` of test streams at the triggers; `points`: at budgets of false alarms an hour, all
    thresholds moved together, the best that the curve of these very streams has."""
    tracks = _composed(model, recipe, data, items, "test", TEST_HOURS)
    figures = figures_of(tracks, model.card, triggers)
    points = [{"target": of["target"], **_kept(of)} for of in figures["operating_points"] if of["supported"]]
    by_label = {"per_label": {label: _kept(of) for label, of in figures["at_card"]["per_label"].items()}}
    return {"hours": figures["hours"], **_kept(figures["at_card"]), **by_label, "points": points}


def _kept(point: Mapping[str, Any]) -> dict[str, Any]:
    return {name: point[name] for name in KEPT if name in point}


def _composed(model: Model, recipe: Recipe, data: Path, items: Items, split: Split, hours: float) -> list[Track]:
    assert isinstance(recipe.streams, Clips)  # noqa: S101 - the caller looked
    sound = load_sound(recipe, [item for item in items if isinstance(item, Clip)], data, split)
    frames = round(model.card.frame_rate * 2)
    seed = DEV_SEED if split == "dev" else TEST_SEED
    composer = clip_composer(recipe, sound, living_streams(recipe.streams), STREAMS, frames, seed)
    return compose_tracks(model, composer, hours)


def _runs(model: Model, recipe: Recipe, items: Items) -> list[Track]:
    rows = load_rows(recipe, [item for item in items if isinstance(item, Run)], "dev")
    names = [[recipe.all_labels[label] for label in labels] for labels in rows.labels]
    heard = [(run.name, hear(Stream(model), run.values)) for run in rows.runs]
    return tracks_of_labels(model.card, [(*of, labels) for of, labels in zip(heard, names, strict=True)])
