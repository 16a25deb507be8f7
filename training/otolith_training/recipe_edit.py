"""A recipe's text with other settings: what a model file's card and a logbook keep must say what was really trained."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from otolith.errors import SettingsError
from otolith_training.recipe import Recipe
from otolith_training.recipe_file import parse_recipe

Setting = str | int | bool


def with_settings(text: str, where: str, changes: Mapping[str, Mapping[str, Setting]]) -> tuple[Recipe, str]:
    """The recipe and its text with `changes`, settings by the section that they stand in.

    Raises `SettingsError` where a section does not stand under a heading of its own.
    """
    for section, settings in changes.items():
        text = _with_section(text, where, section, settings)
    recipe = parse_recipe(text, where)
    for section, settings in changes.items():
        found = {name: getattr(getattr(recipe, section), name) for name in settings}
        if found != settings:  # a line of a longer string looked like a setting
            raise SettingsError(
                f"{where}: {section}: its settings cannot be told apart; write each on a line of its own"
            )
    return recipe, text


def _with_section(text: str, where: str, section: str, settings: Mapping[str, Setting]) -> str:
    """The text with the settings below the section's heading, and nowhere else in it."""
    heading = re.search(rf"(?m)^[ \t]*\[{re.escape(section)}\][^\n]*\n", text)
    if heading is None:
        raise SettingsError(
            f"{where}: {section}: has no heading of its own; write it as [{section}] with a setting a line"
        )
    further = re.search(r"(?m)^[ \t]*\[", text[heading.end() :])
    end = heading.end() + further.start() if further else len(text)
    body = text[heading.end() : end]
    for name in settings:
        body = re.sub(rf"(?m)^[ \t]*{name}[ \t]*=[^\n]*\n?", "", body)
    lines = "".join(f"{name} = {msgspec.json.encode(value).decode()}\n" for name, value in settings.items())
    return text[: heading.end()] + lines + body + text[end:]
