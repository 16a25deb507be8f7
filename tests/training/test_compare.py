"""The comparison of cells, whole and small: each trained alike, measured, told and drawn."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from otolith.errors import UsageError
from otolith.inference.model import Model
from otolith_training import course
from otolith_training.cli import compare as command
from otolith_training.compare import Budget, compare_cells, print_comparison
from otolith_training.learner import Learner
from otolith_training.measure import cost
from otolith_training.recipe_file import parse_recipe
from tests.training.small import DATA, MOTION, SOUND

FILES = ["cells.json", "cells.png", "cells.svg"]


def run(folder: Path, text: str = MOTION, cells: str = "rnn,lstm,gru", budget: Budget | None = None) -> dict[str, Any]:
    (folder / "recipe.toml").write_text(text)
    budget = budget or Budget(epochs=2)
    return compare_cells(folder / "recipe.toml", DATA, folder / "cells", cells, True, budget, Console(file=StringIO()))


@pytest.fixture(scope="module", autouse=True)
def hurried() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "ROUNDS", 2)
        patch.setattr(cost, "ROUND_S", 0.001)
        patch.setattr(course, "REHEARSAL_S", 4.0)
        yield


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("compared")
    return folder, run(folder)


def test_every_cell_gets_the_same_and_is_told_of(compared: tuple[Path, dict[str, Any]]) -> None:
    _, figures = compared
    assert figures["budget"] == {"steps": 6, "epochs": 2, "batch": 4, "chunk_frames": 50}
    cells = {cell["name"]: cell for cell in figures["cells"]}
    assert list(cells) == ["rnn", "lstm", "gru", "gru-2-ways"]
    parameters = {name: cell["parameters"] - 4 * (4 + 1) for name, cell in cells.items() if name != "gru-2-ways"}
    assert parameters == {"rnn": 48, "lstm": 4 * 48, "gru": 3 * 48}
    assert [cell["state"] for cell in cells.values()] == [4, 8, 4, 4]
    for cell in cells.values():
        assert len(cell["score"]) == len(cell["gradient_norm"]) == 2
        assert [len(cell["gradient"][which]["norms"]) for which in ("fresh", "trained")] == [50, 50]
        assert cell["metrics"]["accuracy"] == cell["accuracy"]


def test_only_what_can_be_stepped_has_a_cost_and_a_model(compared: tuple[Path, dict[str, Any]]) -> None:
    folder, figures = compared
    for cell in figures["cells"]:
        path = folder / "cells" / f"small-motion.{cell['name']}.onnx"
        assert path.exists() is (cell["step_us"] is not None) is not cell["bidirectional"]
        if path.exists():
            assert all(value > 0 for value in cell["step_us"].values())
            card = Model.open(path).card
            assert parse_recipe(card.recipe, "card").network.cell == cell["cell"]
            assert parse_recipe(card.recipe, "card").training.epochs == 2


def test_figures_and_plot_are_left_in_the_folder(compared: tuple[Path, dict[str, Any]]) -> None:
    folder, figures = compared
    assert {path.name for path in (folder / "cells").iterdir()} >= set(FILES)
    assert json.loads((folder / "cells" / "cells.json").read_text()) == json.loads(json.dumps(figures))
    drawn = (folder / "cells" / "cells.svg").read_text()
    for told in ("small-motion: 1 x 4 units, 6 steps of 4 streams x 50 frames", "LSTM", "GRU, both ways", "macro-F1"):
        assert told in drawn


def test_the_table_fits_a_terminal(compared: tuple[Path, dict[str, Any]]) -> None:
    said = StringIO()
    print_comparison(compared[1], Console(file=said, width=80))
    lines = said.getvalue().splitlines()
    assert any(line.split()[:1] == ["gru-2-ways"] and line.split()[-2:] == ["-", "-"] for line in lines)
    assert max(len(line.rstrip()) for line in lines) <= 80


def test_what_was_trained_before_is_not_trained_again(
    compared: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, figures = compared
    monkeypatch.setattr(Learner, "learn", None)
    again = run(folder)
    for before, now in zip(figures["cells"], again["cells"], strict=True):
        assert {**before, "step_us": None} == {**now, "step_us": None}


def test_sound_is_compared_by_the_command(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(SOUND)
    arguments = ["recipe.toml", "--cells", "rnn", "--data", str(DATA), "--steps", "2", "--seed", "5", "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    figures = json.loads(done.stdout)
    assert (figures["kind"], figures["seed"], figures["budget"]["steps"]) == ("audio", 5, 2)
    assert [cell["name"] for cell in figures["cells"]] == ["rnn"]
    assert (tmp_path / "small-words-cells" / "cells.svg").exists()


def test_a_cell_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--cells: elman; name some of gru,lstm,rnn"):
        run(tmp_path, cells="gru,elman")
