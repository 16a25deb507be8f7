"""Every recipe in the package trains: a few steps on a slice of real data, and what comes of it is exported."""

from __future__ import annotations

import math
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from otolith_training import course
from otolith_training.data.material import list_items
from otolith_training.data.texts import with_vocabulary
from otolith_training.fit import fit
from otolith_training.network.cards import make_card
from otolith_training.network.export import export
from otolith_training.recipe_edit import with_settings
from otolith_training.recipe_file import read_recipe
from otolith_training.train import examples_of
from tests.training.slices import lay_out
from tests.training.test_recipe import RECIPES

FEW = {"training": {"batch": 4, "epochs": 1, "steps_per_epoch": 3}, "network": {"hidden": 8}}


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("slices"))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_ships_trains_on_a_slice_of_real_data(
    path: Path, slices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "REHEARSAL_S", 4.0)
    learns = read_recipe(path)[0].training.epochs > 0  # else all of it is fitted in closed form
    recipe, text = with_settings(path.read_text("utf-8"), path.name, FEW if learns else {})
    items = list_items(recipe, slices)
    recipe = with_vocabulary(recipe, items)
    fitted = fit(recipe, text, items, slices, tmp_path / "runs", Console(file=StringIO()))
    if learns:
        assert math.isfinite(fitted.history[0]["loss"])
        assert fitted.history[0]["step"] == 3
    model = export(fitted.network, make_card(recipe, text), examples_of(recipe, items), tmp_path / "small.onnx")
    assert model.card.recipe == text
