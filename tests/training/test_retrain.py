"""Retraining: from the file alone, with the old recordings or without, and never for the worse unasked."""

from __future__ import annotations

import shutil
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from otolith.errors import OtolithError
from otolith.inference.model import Model
from otolith_training import retrain as retraining
from otolith_training.retrain import recipe_with, retrain
from otolith_training.train import train
from tests.training.small import DATA, SOUND, sound_recipe


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parent")
    (folder / "recipe.toml").write_text(SOUND)
    train(folder / "recipe.toml", DATA, folder / "words.onnx", None, Console(file=StringIO()))
    return folder / "words.onnx"


@pytest.fixture
def model(parent: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(parent, tmp_path / "words.onnx"))


@pytest.fixture
def added(tmp_path: Path) -> Path:
    """Two clips of a word that the model knows, two of one that it does not."""
    clips = sorted((DATA / "clips").rglob("*.flac"))
    for number, label in enumerate(["yes", "yes", "stop", "stop"]):
        (tmp_path / "added" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(clips[number], tmp_path / "added" / label / f"{number}.flac")
    return tmp_path / "added"


def run(model: Path, added: Path, data: Path, *, force: bool = True, out: Path | None = None) -> tuple[Model, str]:
    said = StringIO()
    return retrain(model, added, data, out, force, Console(file=said, width=200)), said.getvalue()


def test_a_new_label_is_learned_and_the_parent_is_kept(model: Path, added: Path) -> None:
    before = Model.open(model)
    child, said = run(model, added, DATA)
    assert child.card.labels == ["yes", "no", "stop", "_unknown_", "_background_"]
    assert "stop" in child.card.detector
    assert "4 recordings, new labels: stop" in said
    assert Model.open(model).digest == child.digest
    assert Model.open(model.with_suffix(".previous.onnx")).digest == before.digest
    assert [s.name for s in child.card.data][-1] == "added"
    assert child.card.metrics["parents"] == [before.identity]
    grandchild, _ = run(model, added, DATA)
    assert grandchild.card.metrics["parents"] == [before.identity, child.identity]


def test_without_the_old_recordings_it_is_said_and_gone_on(model: Path, added: Path, tmp_path: Path) -> None:
    clips = sorted((DATA / "clips").rglob("*.flac"))
    rows = [
        f"clips/{number}.flac,{label},{split}"
        for number, (label, split) in enumerate(
            [("yes", "train"), ("no", "train"), ("yes", "dev"), ("no", "dev"), ("yes", "test"), ("no", "test")]
        )
    ]
    own = tmp_path / "own"
    (own / "clips").mkdir(parents=True)
    for number in range(len(rows)):
        shutil.copy(clips[number], own / "clips" / f"{number}.flac")
    (own / "manifest.csv").write_text("file,label,split\n" + "\n".join(rows) + "\n")
    child, said = run(model, own, tmp_path / "gone", out=tmp_path / "child.onnx")
    assert "is not there (--data); learning from" in said
    assert Model.open(tmp_path / "child.onnx").digest == child.digest


def test_a_worse_model_is_refused_and_the_parent_stays(
    model: Path, added: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Model.open(model).digest
    compared = retraining.compare

    def worse(*given: object) -> dict[str, object]:
        figures = compared(*given)  # type: ignore[arg-type]
        figures["accuracy"]["difference_interval"] = [-0.2, -0.1]
        return figures

    monkeypatch.setattr(retraining, "compare", worse)
    with pytest.raises(OtolithError, match=r"is worse than small-words@.* beyond the interval; .* stays as it is"):
        run(model, added, DATA, force=False)
    assert Model.open(model).digest == before
    child, _ = run(model, added, DATA, force=True)
    assert Model.open(model).digest == child.digest != before


def test_the_recipe_of_the_card_is_what_was_taught() -> None:
    recipe, text = recipe_with(sound_recipe(), SOUND, ["stop", 'he said "go"'], has_old=True)
    assert recipe.data.labels == ["yes", "no", "stop", 'he said "go"']
    assert 'labels = ["yes", "no", "stop", "he said \\"go\\""]' in text
    assert recipe.training.learning_rate == sound_recipe().training.learning_rate / 4
