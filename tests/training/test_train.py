"""The whole way of the trainer: recordings and a recipe in, a model file out that the daemon opens."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from otolith.errors import OtolithError
from otolith.inference.model import Model
from otolith_training import expect
from otolith_training.crossvalidate import crossvalidate
from otolith_training.data.composer import Chunk
from otolith_training.learner import Learner, Step
from otolith_training.measure import longrun
from otolith_training.network.network import begin_afresh, detach, make_network
from otolith_training.train import train
from tests.training.small import DATA, MOTION, SOUND, changed, sound_recipe


def run(text: str, folder: Path, seed: int | None = None) -> tuple[Model, str]:
    recipe, said = folder / "recipe.toml", StringIO()
    recipe.write_text(text)
    return train(recipe, DATA, folder / "small.onnx", seed, Console(file=said, width=200)), said.getvalue()


@pytest.mark.parametrize(("text", "split"), [(SOUND, "clips"), (MOTION, "rows")], ids=["sound", "motion"])
def test_a_recipe_and_recordings_become_a_model_that_opens(tmp_path: Path, text: str, split: str) -> None:
    model, said = run(text, tmp_path)
    assert Model.open(tmp_path / "small.onnx").digest == model.digest
    assert "epoch   1/1" in said
    card = model.card
    assert card.recipe == text
    assert card.metrics["test"][split] > 0
    assert all(entry.fingerprint.startswith("sha256:") for entry in card.data)
    written = (tmp_path / "small.md").read_text()
    assert f"{card.metrics['test']['accuracy']:.1%}" in written
    assert "CC BY 4.0" in written


def test_a_model_of_half_the_rate_is_trained_on_the_same_recordings_and_told_in_its_own_hops(tmp_path: Path) -> None:
    frontend = "8000\nwindow_length = 256\nhop_length = 160\nn_mels = 32\nn_mfcc = 32\nf_max = 3900.0"
    model, _ = run(changed(SOUND, {"sample_rate": frontend}), tmp_path)
    card = model.card
    assert (card.sample_rate, card.hop_length, card.frame_rate) == (8000.0, 160, 50.0)
    assert card.metrics["test"]["clips"] == 2


def test_a_network_that_looks_ahead_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    text = changed(MOTION, {"hidden": "4\nbidirectional = true", "path": '"nowhere"'})
    with pytest.raises(OtolithError, match=r"recipe\.toml: network\.bidirectional .* set bidirectional = false"):
        run(text, tmp_path)
    with pytest.raises(OtolithError, match=r"recipe\.toml: network\.bidirectional"):
        crossvalidate(tmp_path / "recipe.toml", DATA, None, None, False, None, Console(file=StringIO()))


@pytest.mark.parametrize("text", [SOUND, MOTION], ids=["sound", "motion"])
def test_a_budget_of_false_alarms_chooses_the_triggers_and_says_what_to_expect(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expect, "DEV_HOURS", 0.1)
    monkeypatch.setattr(expect, "TEST_HOURS", 0.05)
    monkeypatch.setattr(longrun, "TARGETS", (120.0,))  # an hour: three minutes bear no lower one
    model, said = run(f"{text}\n[detector]\nfalse_alarms_per_hour = 60.0\n", tmp_path)
    expected = model.card.metrics["dev streams"]
    assert expected["budget_false_alarms_per_hour"] == 60.0
    low, high = expected["false_alarms_per_hour_interval"]
    assert low <= expected["false_alarms_per_hour"] <= high
    assert {trigger.release / trigger.threshold for trigger in model.card.detector.values()} != {0.5}
    assert "dev streams: " in said
    card = (tmp_path / "small.md").read_text()
    assert "false alarms per hour" in card
    if text is SOUND:
        told = model.card.metrics["test streams"]
        assert 0 < told["hours"] < 0.1
        assert "| at most, an hour |" in card


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    digests = []
    for seed in (5, 5, 6):
        model, _ = run(MOTION, tmp_path, seed)
        digests.append(np.array(model.card.proof.posteriors))
        assert model.card.made.seed == seed
    np.testing.assert_array_equal(digests[0], digests[1])
    assert not np.array_equal(digests[0], digests[2])


def test_ctrl_c_leaves_a_usable_checkpoint_and_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    learn = Learner.learn

    def pressed(learner: Learner, chunk: Chunk) -> Step:
        nonlocal steps
        steps += 1
        if steps == 5:
            raise KeyboardInterrupt
        return learn(learner, chunk)

    monkeypatch.setattr(Learner, "learn", pressed)
    model, said = run(changed(SOUND, {"epochs": "9"}), tmp_path)
    assert "interrupted: exporting epoch 1" in said
    assert model.card.metrics["epochs"] == 1
    kept = torch.load(tmp_path / "small.runs" / "001" / "checkpoint.pt", weights_only=True)
    make_network(sound_recipe()).load_state_dict(kept["weights"])
    assert kept["epoch"] == 1


def test_gradients_reach_back_to_the_chunks_beginning_and_no_further() -> None:
    network = make_network(sound_recipe())
    state = network.fresh_state(2)
    _, state = network(torch.randn(2, 3, 320), state)
    assert state["hidden_0"].requires_grad
    assert not any(value.requires_grad for value in detach(state).values())


def test_a_stream_begun_afresh_forgets_and_the_others_do_not() -> None:
    state = {"hidden_0": torch.ones(2, 4), "window": torch.ones(2, 1, 320)}
    begun = begin_afresh(state, torch.tensor([True, False]))
    assert not begun["hidden_0"][0].any()
    assert not begun["window"][0].any()
    torch.testing.assert_close(begun["window"][1], state["window"][1])
