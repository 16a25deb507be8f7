"""The whole way of text: lines and a recipe in, a model out that opens, is measured, and reads a pipe."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from otolith.cli.main import otolith
from otolith.errors import OtolithError, SettingsError, UsageError
from otolith.inference.card import Tokens
from otolith.inference.model import Model
from otolith_training.measure.evaluate import evaluate
from otolith_training.recipe_file import parse_recipe
from otolith_training.retrain import retrain
from otolith_training.train import train
from tests.processes import json_lines, run_otolith
from tests.training.small import LANGUAGE, SENTENCES, changed, write_sentences, write_verse


def run(text: str, folder: Path) -> tuple[Model, str]:
    said = StringIO()
    (folder / "recipe.toml").write_text(text)
    return train(
        folder / "recipe.toml", folder, folder / "small.onnx", None, Console(file=said, width=200)
    ), said.getvalue()


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sentences and a model of them."""
    folder = write_sentences(tmp_path_factory.mktemp("sentences"))
    run(SENTENCES, folder)
    return folder


def test_sentences_become_a_model_that_tells_them_apart(sentences: Path) -> None:
    card = Model.open(sentences / "small.onnx").card
    assert (card.kind, card.task, card.labels, card.detector) == ("token", "classify", ["neg", "pos"], {})
    assert isinstance(card.tokens, Tokens)
    assert card.tokens.vocabulary[0] == card.tokens.unknown == "<unknown>"
    assert card.tokens.end is None
    assert card.metrics["test"]["lines"] > 5
    figures = evaluate(sentences / "small.onnx", sentences / "sentences")
    assert figures["split"] == "test"
    assert figures["lines"] == card.metrics["test"]["lines"]
    assert figures["accuracy"] == card.metrics["test"]["accuracy"] > 0.8
    assert "of which it knows" in (sentences / "small.md").read_text()


def test_infer_tells_a_label_a_line_and_starts_afresh(sentences: Path) -> None:
    text = sentences / "new.txt"
    text.write_text("the film is so bright 1\n\nthe film is so dull 1\nthe film is so bright 1\n")
    code, out, _ = run_otolith("infer", sentences / "small.onnx", text, "--json")
    assert code == 0
    messages = json_lines(out)
    told = [m for m in messages if m["kind"] == "detection"]
    assert [(m["label"], m["phase"]) for m in told] == [
        (label, phase) for label in ("pos", "neg", "pos") for phase in ("start", "end")
    ]
    assert told[0]["confidence"] == told[4]["confidence"]
    assert [m["reason"] for m in messages if m["kind"] == "gap"] == ["the utterance ended"] * 3
    assert [m["frames"] for m in messages if m["kind"] == "posteriors"] == [6, 6, 6]


def test_a_set_it_never_met_is_measured_whole_and_what_cannot_be_meant_is_refused(
    sentences: Path, tmp_path: Path
) -> None:
    (tmp_path / "pos.txt").write_text("her voice was warm\n")
    (tmp_path / "neg.txt").write_text("her voice was flat\n")
    assert evaluate(sentences / "small.onnx", tmp_path)["split"] == "all"
    with pytest.raises(UsageError, match="--soak: an utterance starts afresh"):
        evaluate(sentences / "small.onnx", tmp_path, soaked=True)
    with pytest.raises(OtolithError, match="otolith retrain is for task tag, and this is classify"):
        retrain(sentences / "small.onnx", tmp_path, tmp_path, None, False, Console(file=StringIO()))


def test_a_language_is_learned_and_measured_by_its_surprise(tmp_path: Path) -> None:
    model, said = run(LANGUAGE, write_verse(tmp_path))
    assert model.card.labels[-1] == "\n"
    assert isinstance(model.card.tokens, Tokens)
    assert model.card.tokens.end == "\n"
    figures = evaluate(tmp_path / "small.onnx", tmp_path / "verse.txt")
    assert figures["split"] == "test"
    assert 1 < figures["perplexity"] < 15
    assert figures["perplexity"] == pytest.approx(2 ** figures["bits_per_token"])
    assert "perplexity" in said
    json.dumps(figures)
    asked = ["evaluate", str(tmp_path / "small.onnx"), "--data", str(tmp_path / "verse.txt")]
    told = CliRunner().invoke(otolith, [*asked, "--compare", str(tmp_path / "small.onnx")])
    assert told.exit_code == 0, told.output
    assert f"perplexity {figures['perplexity']:.2f}" in told.output
    assert "+0.000" in told.output
    with pytest.raises(UsageError, match="text has no minutes"):
        evaluate(tmp_path / "small.onnx", tmp_path / "verse.txt", soaked=True)
    (tmp_path / "prompt.txt").write_text("row row r")
    arguments = ("generate", tmp_path / "small.onnx", "--prompt", tmp_path / "prompt.txt", "--steps", "40")
    written = [run_otolith(*arguments, "--temperature", "0.5", "--seed", seed) for seed in ("1", "1", "2")]
    assert [code for code, _, _ in written] == [0, 0, 0]
    assert written[0][1] == written[1][1] != written[2][1]
    assert len(written[0][1]) == 41
    assert set(written[0][1]) <= set("row your boat\ngently down the stream")


def test_only_a_model_that_forecasts_can_run_on(sentences: Path) -> None:
    code, _, said = run_otolith("generate", sentences / "small.onnx", "--steps", "3")
    assert code == 2
    assert "a model of task classify tells what it hears; only one of task forecast can run on" in said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            changed(SENTENCES, {"task": '"tag"'}),
            r"task: 'tag' is not learned from data\.kind 'token'; it takes classify",
        ),
        (changed(SENTENCES, {"pool": "[]"}), r"network\.pool: name one or more of last, mean and max"),
        (changed(SENTENCES, {"type": '"sensor"'}), r"unknown setting"),
        (changed(SENTENCES, {"labels": '["neg"]'}), r"data\.labels: 1 label in all"),
        (LANGUAGE.replace('attribution = "nobody"', 'attribution = "nobody"\nlabels = ["a", "b"]'), "leave them out"),
        (changed(LANGUAGE, {"begin": '"labels"'}), 'say "company"'),
        (SENTENCES + "\n[detector]\nthreshold = 0.5\n", "task 'classify' has none"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        parse_recipe(text, "small.toml")
