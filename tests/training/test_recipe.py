"""Recipes: what is wrong is said at the door, with the place and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from otolith.errors import SettingsError
from otolith_training.recipe import Mfcc
from otolith_training.recipe_file import parse_recipe, read_recipe
from tests.training.small import MOTION, SOUND, VIBRATION, changed

RECIPES = Path(__file__).parent.parent.parent / "training" / "otolith_training" / "recipes"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": '"sensor"'}, "frontend: "),
        ({"bands": "600"}, "frontend.bands: 600; between 1 and 512"),
        ({"f_min": "0.0"}, "frontend.f_min: 0 Hz; bands by equal ratios must begin above 0"),
        ({"f_max": "1100.0"}, "frontend.f_max: 1100 Hz"),
        ({"full_scale": "0.0"}, "frontend.full_scale: 0; above 0"),
        ({"channel": '{ name = "DE", unit = "full scale" }'}, "frontend.full_scale: 8 of no unit; name the channel's"),
        ({"channel": '{ name = "DE", unite = "g" }'}, "frontend.channel: 'unit' is missing"),
        ({"stretch_s": "0.0"}, "streams: piece_s and stretch_s are lengths of time"),
        ({"stretch_s": "1.0\nspeed = [0.1, 2.0]"}, "streams.speed: 0.1 to 2; between 0.25 and 4"),
        ({"stretch_s": "1.0\nknown_after_s = -1.0"}, "streams.known_after_s: -1; it must not be negative"),
        ({"seed": "1\n[detector]\nfalse_alarms_per_hour = 1.0"}, "detector.false_alarms_per_hour: needs streams of"),
    ],
)
def test_a_fault_of_a_recipe_for_vibration_is_said_at_its_place(change: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as fault:
        parse_recipe(changed(f"{VIBRATION}seed = 1\n", change), "bearings.toml")
    assert str(fault.value).startswith(f"bearings.toml: {said}")


def test_a_recipe_that_leaves_settings_out_gets_documented_ones() -> None:
    recipe = parse_recipe(SOUND, "words.toml")
    assert isinstance(recipe.frontend, Mfcc)
    assert (recipe.frontend.window_length, recipe.frontend.hop_length) == (512, 320)
    assert recipe.all_labels == ["yes", "no", "_unknown_", "_background_"]
    assert list(recipe.triggers) == ["yes", "no"]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.name)
def test_every_recipe_that_ships_can_be_read(path: Path) -> None:
    recipe, text = read_recipe(path)
    assert recipe.name == path.stem
    assert text == path.read_text("utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"hidden": "4\ngates = 3"},
            "network: unknown setting 'gates'; known there: layers, hidden, cell, bidirectional",
        ),
        ({"hidden": "4\ncell = 'gated'"}, "network.cell: invalid enum value 'gated'; one of gru, lstm, rnn"),
        ({"hidden": "4\nbidirectional = 'no'"}, "network.bidirectional: expected `bool`"),
        ({"hidden": "'many'"}, "network.hidden: expected `int`, got `str`"),
        ({"hidden": "0"}, "network.hidden: 0; between 1 and 4096"),
        ({"sample_rate": "16000\nf_max = 9000.0"}, "frontend.f_max: 9000 Hz"),
        ({"sample_rate": "16000\nhop_length = 600"}, "frontend.window_length: 512 with hop_length 600"),
        ({"sample_rate": "16000\nn_mfcc = 80"}, "frontend.n_mfcc: 80 with n_mels 40"),
        ({"labels": '["yes", "yes"]'}, "data.labels: a label stands twice"),
        ({"type": '"sensor"'}, "frontend"),
        ({"task": '"dream"'}, "task:"),
        ({"name": '"a name/with a slash"'}, "name:"),
        ({"batch": "4\nlearning_rate = -1.0"}, "training.learning_rate: -1"),
        ({"reverb": "1.5"}, "streams.reverb: 1.5; between 0 and 1"),
        ({"reverb": "0.2\nbackwards = 1.5"}, "streams.backwards: 1.5; between 0 and 1"),
        ({"reverb": "0.2\nnegative_speed = [0.1, 1.0]"}, "streams.negative_speed: 0.1 to 1; between 0.25 and 4"),
        ({"batch": "4\noptimizer = 'sgd'"}, "training.optimizer: invalid enum value 'sgd'"),
        ({"reverb": "0.2\nvocal_tract = 0.9"}, "streams.vocal_tract: 0.9; between 0 and 0.5"),
        ({"reverb": "0.2\n[[streams.augmentations]]\np = 0.2"}, 'streams.augmentations[0]: "type" is missing'),
        (
            {"reverb": "0.2\n[[streams.augmentations]]\ntype = 'TanhDistortion'\np = 2"},
            "streams.augmentations[0].p: 2; the share of sounds",
        ),
        (
            {"reverb": "0.2\n[[streams.augmentations]]\ntype = 'TanhDistortion'\nother = { p = 1 }"},
            "streams.augmentations: expected `bool | int | float | str | array`, got `object`",
        ),
        ({"batch": "4\nclip_norm = 1.0\nclip_value = 0.5"}, "training.clip_value: stands beside clip_norm"),
        ({"batch": "4\nclip_value = -0.5"}, "training.clip_value: -0.5; between"),
        ({"chunk_frames": "50\n[detector]\nthreshold = 2.0"}, "detector.yes: threshold is 2.0"),
        ({"chunk_frames": "50\n[detector]\nthreshold = 0.2\nrelease = 0.4"}, "release is 0.4"),
        ({"chunk_frames": "50\n[detector]\nfalse_alarms_per_hour = 0.0"}, "0 false alarms an hour (false_alarms_per"),
        (
            {"chunk_frames": "50\n[detector]\nlabel_false_alarms_per_hour = { yes = 1.0 }"},
            "detector.false_alarms_per_hour: is missing",
        ),
        (
            {
                "chunk_frames": "50\n[detector]\nfalse_alarms_per_hour = 1.0\n"
                "label_false_alarms_per_hour = { maybe = 1.0 }"
            },
            "detector.labels: maybe: none of data.labels",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        parse_recipe(changed(SOUND, change), "words.toml")
    message = str(refusal.value)
    assert message.startswith("words.toml: ")
    assert said in message
    assert "\n" not in message


def test_sound_and_sensors_take_front_ends_and_streams_of_their_own() -> None:
    with pytest.raises(SettingsError, match=r"streams\.type: does not fit data\.kind 'sensor'"):
        parse_recipe(MOTION.replace('type = "runs"', 'type = "clips"'), "motion.toml")


def test_what_is_no_toml_or_no_file_is_said_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("name = \n")
    with pytest.raises(SettingsError, match=r"broken\.toml: is not TOML"):
        read_recipe(broken)
    with pytest.raises(SettingsError, match=r"cannot be read \(No such file or directory\)"):
        read_recipe(tmp_path / "none.toml")
    assert SettingsError("x").exit_code == 78
