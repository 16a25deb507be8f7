"""Vibration, the whole way: packed signals and a recipe in, a model file out, measured by load on stretches."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from otolith.errors import OtolithError
from otolith.inference.model import Model
from otolith_training.measure.evaluate import evaluate
from otolith_training.measure.long_tables import print_evaluation
from otolith_training.retrain import retrain
from otolith_training.train import train
from tests.training.machines import RATE, vibration, write_csv, write_packed
from tests.training.small import VIBRATION


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `machines`, packed, and the model that learned from them."""
    folder = tmp_path_factory.mktemp("vibration")
    write_packed(folder / "machines" / "set.npz")
    (folder / "recipe.toml").write_text(VIBRATION)
    train(folder / "recipe.toml", folder, folder / "small.onnx", None, Console(file=StringIO()))
    return folder


def test_the_card_says_what_a_sample_of_one_is(made: Path) -> None:
    card = Model.open(made / "small.onnx").card
    assert (card.kind, card.channels[0].unit, card.full_scale) == ("audio", "g", 8.0)
    assert card.frame_shape == (64,)
    assert "DE (g), a sample of 1 is 8 at 2000 Hz" in (made / "small.md").read_text()
    assert "accuracy of group 1" in (made / "small.md").read_text()


def test_a_load_that_was_held_out_is_told_stretch_by_stretch(made: Path) -> None:
    figures = evaluate(made / "small.onnx", made / "machines", report=made / "report.html", soaked=True)
    assert (figures["split"], figures["stretches"]) == ("test", 12)  # two machines, three seconds, a half each
    assert figures["accuracy"] > 0.9
    assert figures["interval_over"] == {"unit": "recording", "count": 2}
    assert list(figures["per_group"]) == ["1"]
    assert [row["minutes"] for row in figures["soak"]] == [0.0, 1.0, 10.0, 60.0]
    assert "small-vibration" in (made / "report.html").read_text()
    said = StringIO()
    print_evaluation(figures, Console(file=said, width=200))
    assert "split test, 12 stretches" in said.getvalue()


def test_ends_that_chose_the_epoch_are_the_dev_split(made: Path) -> None:
    assert evaluate(made / "small.onnx", made / "machines", "dev")["stretches"] == 2
    assert evaluate(made / "small.onnx", made / "machines", "all")["stretches"] == 24


def test_a_loggers_recordings_of_other_machines_are_measured_whole(made: Path, tmp_path: Path) -> None:
    for label in ("sound", "worn"):
        write_csv(tmp_path / label / "a.csv", vibration(label, 2, 1.0))
    figures = evaluate(made / "small.onnx", tmp_path)
    assert (figures["split"], figures["stretches"]) == ("all", 4)


def test_a_model_learns_on_from_a_loggers_recordings(made: Path, tmp_path: Path) -> None:
    for label in ("sound", "worn"):
        write_csv(tmp_path / "more" / label / "a.csv", vibration(label, 0, 4.0))
    retrain(made / "small.onnx", tmp_path / "more", made, tmp_path / "on.onnx", True, Console(file=StringIO()))
    assert Model.open(tmp_path / "on.onnx").card.full_scale == 8.0


def test_a_live_source_of_int16_and_the_training_data_agree(made: Path) -> None:
    model = Model.open(made / "small.onnx")
    values = vibration("worn", 1, 1.0)[: RATE // 64 * 64]  # g
    counts = np.rint(values / 8.0 * 32768).astype(np.int16)  # as a source of 8 g full scale sends them
    frames = (values / np.float32(8.0)).reshape(1, -1, 64)
    as_floats, _ = model.step(frames, model.fresh_state())
    live, _ = model.step((counts / np.float32(32768)).astype(np.float32).reshape(1, -1, 64), model.fresh_state())
    np.testing.assert_allclose(live, as_floats, atol=0.02)


def test_a_recipe_without_signals_in_a_split_says_so(made: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(VIBRATION.replace('test = ["1"]', 'dev = ["0"]\ntest = ["1"]'))
    with pytest.raises(OtolithError, match="no recording falls into the split 'train'"):
        train(tmp_path / "recipe.toml", made, tmp_path / "small.onnx", None, Console(file=StringIO()))
