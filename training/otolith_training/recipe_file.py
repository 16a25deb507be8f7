"""A recipe's file: read, and checked whole before anything is loaded; a fault says where, what and what would do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec

from otolith.errors import SettingsError
from otolith.inference.card import Channel
from otolith.settings import parse_toml
from otolith_training.recipe import (
    Anomaly,
    Backgrounds,
    Clips,
    Convolution,
    Data,
    Detector,
    Forecast,
    Mfcc,
    Network,
    Recipe,
    Rows,
    Runs,
    Signals,
    Spans,
    Spectrum,
    Task,
    Text,
    Tokens,
    Training,
    Utterances,
)
from otolith_training.recipe_faults import recipe_faults


def read_recipe(path: str | Path) -> tuple[Recipe, str]:
    """A recipe and its text. Raises `SettingsError`: `FILE: where: found; what would do`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"{path}: cannot be read ({reason}); name a recipe (.toml)") from None
    return parse_recipe(text, str(path)), text


def parse_recipe(text: str, where: str) -> Recipe:
    """A recipe from its text; `where` begins every message. Raises `SettingsError`."""
    try:
        recipe = msgspec.convert(parse_toml(text, where), Recipe)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {_explain(str(error))}") from None
    for fault in recipe_faults(recipe):
        raise SettingsError(f"{where}: {fault}")
    return recipe


def require_task(recipe: Recipe, what: str, *tasks: Task) -> None:
    """Raise `SettingsError` of a recipe whose task is none of those that `what` can deal with."""
    if recipe.task not in tasks:
        raise SettingsError(
            f"{recipe.name}: {what} is for task {' and '.join(tasks)}, and this is {recipe.task}; train it anew instead"
        )


_SECTIONS: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "": (Recipe,),
    "data": (Data,),
    "data.backgrounds": (Backgrounds,),
    "frontend": (Mfcc, Spectrum, Rows, Tokens),
    "frontend.channel": (Channel,),
    "network": (Network,),
    "network.convolution": (Convolution,),
    "streams": (Clips, Runs, Signals, Utterances, Spans, Text),
    "training": (Training,),
    "detector": (Detector,),
    "forecast": (Forecast,),
    "anomaly": (Anomaly,),
}


def _explain(message: str) -> str:
    """msgspec's message as ours: the place first, then what was found and what would do."""
    found, _, place = message.partition(" - at `$")
    place = re.sub(r"\[(\d+|\.\.\.)\]", "", place.rstrip("`")).lstrip(".")
    sections = _SECTIONS.get(place, ())
    known = [" or ".join(", ".join(section.__struct_fields__) for section in sections)] if sections else []
    if "unknown field" in found:
        name = found.rpartition("field ")[2].strip("`")
        remedy = f"known there: {known[0]}" if known else "leave it out"
        return f"{place or 'top'}: unknown setting {name!r}; {remedy}"
    if "missing required field" in found:
        name = found.rpartition("field ")[2].strip("`")
        return f"{place or 'top'}: {name!r} is missing; add it"
    remedy = "mend the value"
    if "enum value" in found and (choices := _choices(place)):
        remedy = f"one of {', '.join(choices)}"
    return f"{place or 'top'}: {found[:1].lower()}{found[1:]}; {remedy}"


def _choices(place: str) -> list[str]:
    """What a setting may be, where that is one of a few words."""
    section, _, name = place.rpartition(".")
    return [
        choice
        for known in _SECTIONS.get(section, ())
        if name in known.__struct_fields__
        for choice in get_args(get_type_hints(known)[name])
    ]
