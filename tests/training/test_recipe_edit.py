"""A recipe's text with other settings: what a card says of a model is what was trained."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from otolith.errors import SettingsError
from otolith_training.recipe_edit import with_settings
from otolith_training.recipe_file import parse_recipe, read_recipe
from tests.training.small import MOTION
from tests.training.test_recipe import RECIPES


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_only_what_is_named_is_another(path: Path) -> None:
    before, text = read_recipe(path)
    recipe, changed = with_settings(text, path.name, {"network": {"cell": "lstm"}, "training": {"batch": 7, "seed": 3}})
    assert parse_recipe(changed, path.name) == recipe
    assert recipe.network == msgspec.structs.replace(before.network, cell="lstm")
    assert recipe.training == msgspec.structs.replace(before.training, batch=7, seed=3)
    put_back = msgspec.structs.replace(recipe, network=before.network, training=before.training)
    assert put_back == before
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        line for line in changed.splitlines() if line.startswith("#")
    ]


def test_a_setting_stands_once_and_may_be_changed_back() -> None:
    _, once = with_settings(MOTION, "m.toml", {"network": {"cell": "rnn", "bidirectional": True}})
    recipe, twice = with_settings(once, "m.toml", {"network": {"cell": "gru", "bidirectional": False}})
    assert twice.count("cell =") == 1
    assert recipe == parse_recipe(MOTION, "m.toml")


def test_a_section_without_a_heading_is_refused_with_the_remedy() -> None:
    head, _, rest = MOTION.partition("[network]\nlayers = 1\nhidden = 4\n")
    inline = f"network = {{ layers = 1, hidden = 4 }}\n{head}{rest}"
    assert parse_recipe(inline, "m.toml") == parse_recipe(MOTION, "m.toml")
    with pytest.raises(SettingsError, match=r"m\.toml: network: has no heading of its own; write it as \[network\]"):
        with_settings(inline, "m.toml", {"network": {"cell": "rnn"}})
