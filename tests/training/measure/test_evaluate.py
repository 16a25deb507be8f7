"""The evaluation: figures of a small model, by the daemon's own stream."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from otolith.errors import OtolithError, UsageError
from otolith.inference.card import Trigger
from otolith_training.cli import evaluate as command
from otolith_training.data.composer import Spoken
from otolith_training.data.datasets import read_runs
from otolith_training.data.material import describe_sets, list_runs
from otolith_training.measure.decide import decide
from otolith_training.measure.evaluate import evaluate
from otolith_training.measure.scores import score
from otolith_training.measure.streams import listen
from otolith_training.network.cards import make_card
from otolith_training.network.export import export
from otolith_training.network.network import Network, make_network
from otolith_training.recipe_file import parse_recipe
from tests.training.small import DATA, MOTION, SOUND, motion_recipe, random_scaling, sound_recipe

LABELS_OF_MOTION = ["SEATED", "STANDING_UP", "WALKING", "TURNING"]
LABELS = ["yes", "no", "_unknown_", "_background_"]


@pytest.fixture
def words(network: Network, tmp_path: Path) -> Path:
    export(network, make_card(sound_recipe(), SOUND), [], tmp_path / "words.onnx")
    return tmp_path / "words.onnx"


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    recipe = motion_recipe()
    sets = describe_sets(recipe, list_runs(recipe, DATA), DATA)
    export(random_scaling(make_network(recipe)), make_card(recipe, MOTION, sets), [], tmp_path / "motion.onnx")
    return tmp_path / "motion.onnx"


def test_clips_of_the_manifests_test_split_are_told_with_all_figures(words: Path) -> None:
    figures = evaluate(words, DATA / "clips")
    assert list(figures) == [
        "model", "data", "split", "kind", "clips", "accuracy", "macro_f1", "per_label", "confusion",
        "accuracy_interval", "macro_f1_interval", "interval_over", "per_group",
    ]  # fmt: skip
    assert (figures["split"], figures["kind"], figures["clips"]) == ("test", "audio", 2)
    assert sum(map(sum, figures["confusion"]["matrix"])) == 2
    assert evaluate(words, DATA / "clips", "all")["clips"] == 9


def test_rows_are_split_by_the_recipes_rule_where_the_model_knows_the_set(motion: Path) -> None:
    figures = evaluate(motion, DATA / "motion")
    assert (figures["split"], figures["rows"]) == ("test", 600)
    assert evaluate(motion, DATA / "motion", "all")["rows"] == 1800


def test_rows_of_a_set_that_the_model_does_not_know_are_all_told(motion: Path, tmp_path: Path) -> None:
    text = (DATA / "motion" / "s22_01.csv").read_text().splitlines()[:200]
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "run.csv").write_text("\n".join(text) + "\n")
    figures = evaluate(motion, tmp_path / "new")
    assert (figures["split"], figures["rows"]) == ("all", 199)


def test_a_known_set_is_measured_by_the_recipes_files_alone(tmp_path: Path) -> None:
    data = tmp_path / "motion"
    data.mkdir()
    names = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
    runs = read_runs(DATA / "motion", names, 100.0)
    for device in ("watch", "phone"):
        np.savez(
            data / f"{device}.npz",
            X=np.concatenate([run.values for run in runs]),
            y=np.concatenate([[LABELS_OF_MOTION.index(label) for label in run.labels] for run in runs]),
            offsets=np.array([0, 600, 1200, 1800]),
            subject=np.array([run.group for run in runs]),
            labels=np.array(LABELS_OF_MOTION),
            channels=np.array(names),
        )
    text = MOTION.replace('path = "motion"', 'path = "motion"\nfiles = ["watch.npz"]')
    recipe = parse_recipe(text, "small.toml")
    card = make_card(recipe, text, describe_sets(recipe, list_runs(recipe, tmp_path), tmp_path))
    export(random_scaling(make_network(recipe)), card, [], tmp_path / "motion.onnx")
    figures = evaluate(tmp_path / "motion.onnx", data)
    assert (figures["split"], figures["rows"]) == ("test", 600)
    assert evaluate(tmp_path / "motion.onnx", data / "watch.npz")["rows"] == 600
    assert evaluate(tmp_path / "motion.onnx", data / "phone.npz")["split"] == "all"


def test_a_label_that_a_model_lacks_and_cannot_call_unknown_is_an_error(motion: Path, tmp_path: Path) -> None:
    rows = ["t,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z,label", "0,1,1,1,1,1,1,JUMPING", "0.01,1,1,1,1,1,1,JUMPING"]
    (tmp_path / "run.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(OtolithError, match="label 'JUMPING' is none of SEATED"):
        evaluate(motion, tmp_path)


def test_a_split_that_there_is_not_is_said(words: Path) -> None:
    with pytest.raises(UsageError, match="can be train, dev, test or all"):
        evaluate(words, DATA / "clips", "holdout")


def test_the_command_prints_json_or_a_table(words: Path) -> None:
    said = CliRunner().invoke(command, [str(words), "--data", str(DATA / "clips"), "--json"])
    assert json.loads(said.stdout)["clips"] == 2
    table = CliRunner().invoke(command, [str(words), "--data", str(DATA / "clips"), "--split", "all"])
    assert "accuracy" in table.stdout
    assert "9 clips" in table.stdout


def test_evaluating_needs_no_torch(words: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from otolith_training.measure.evaluate import evaluate\n"
        f"print(evaluate(Path({str(words)!r}), Path({str(DATA / 'clips')!r}))['clips'])\n"
        "print(sorted({'torch', 'librosa', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "[]"]


def test_finding_the_commands_loads_no_library_of_the_trainer() -> None:
    program = (
        "import sys, otolith_training.cli; print(sorted({'torch', 'librosa', 'sklearn', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_clip_is_what_rises_highest_and_background_only_if_nothing_does() -> None:
    posteriors = np.full((60, 4), 0.0, np.float32)
    posteriors[:, 3] = 1.0
    assert decide(posteriors, LABELS, "_background_", 50.0) == 3
    posteriors[20:40] = (0.2, 0.6, 0.1, 0.1)
    assert decide(posteriors, LABELS, "_background_", 50.0) == 1
    posteriors[50] = (1.0, 0.0, 0.0, 0.0)  # one frame is no word
    assert decide(posteriors, LABELS, "_background_", 50.0) == 1


def test_figures_are_those_of_the_confusion() -> None:
    figures = score(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ["a", "b", "never"])
    assert figures["accuracy"] == 0.75
    assert figures["confusion"] == {"labels": ["a", "b"], "matrix": [[1, 1], [0, 2]]}
    assert figures["per_label"]["b"]["recall"] == 1.0
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_a_detection_hits_one_word_and_all_others_are_false_alarms() -> None:
    card = make_card(sound_recipe(), SOUND)
    posteriors = np.zeros((1, 200, 4), np.float32)
    posteriors[..., 3] = 1
    for start in (20, 100, 150):  # frames of 20 ms: one hit, two false alarms
        posteriors[0, start : start + 15, 0] = 1
    spoken = [Spoken(0, 0, 18 * 320, 30 * 320), Spoken(0, 1, 60 * 320, 70 * 320)]
    heard = listen(posteriors, spoken, card, {"yes": Trigger(0.5, 0.2, 0.0, 0.0), "no": Trigger(0.5, 0.2, 0.0, 0.0)})
    assert (heard.spoken, heard.hits, heard.false_alarms) == (2, 1, 2)
    assert heard.lateness_s == [pytest.approx((21 - 30) * 0.02)]
