"""Calibration: thresholds for one room, and settings that the daemon takes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from otolith.errors import UsageError
from otolith.inference.card import Trigger
from otolith.inference.model import Model
from otolith.settings import read_settings, triggers_for
from otolith_training.cli import calibrate as command
from otolith_training.measure.calibrate import Alarms, calibrate_file, in_words, settings_lines
from otolith_training.measure.sweep import find_all
from otolith_training.measure.tracks import Track


def rising(*heights: float) -> Track:
    """Six minutes in which "yes" rises now and then, and nothing is to be heard."""
    yes = np.zeros(18000, np.float32)
    for number, height in enumerate(heights):
        yes[500 + 3000 * number : 520 + 3000 * number] = height
    return Track("room", None, np.stack([yes, 0 * yes, 1 - yes], axis=1), (), 18000 * 320)


def test_thresholds_are_raised_no_further_than_the_budget_asks(tiny_audio: Model) -> None:
    card = tiny_audio.card
    room = [rising(0.7, 0.8, 0.9)]
    none = Alarms(room, card).raised(0)
    one = Alarms(room, card).raised(1)
    assert 0.89 < none["yes"].threshold < 0.93
    assert one["yes"].threshold < none["yes"].threshold
    assert find_all(room, card, one)["yes"].false_alarms == 1
    assert Alarms(room, card).raised(3) == card.detector
    assert none["no"] == card.detector["no"]
    share = card.detector["yes"].release / card.detector["yes"].threshold
    assert none["yes"].release / none["yes"].threshold == pytest.approx(share, abs=1e-3)


def test_what_is_fitted_to_half_of_the_minutes_is_counted_on_the_other(tiny_audio: Model) -> None:
    alarms = Alarms([rising(0.7, 0.95)], tiny_audio.card)  # in the first minute and in the second
    fitted = [alarms.raised(0, half) for half in (0, 1)]
    assert alarms.count_all(fitted[0], 0) == 0
    assert alarms.count_all(fitted[0], 1) == 1, "the first minute never rose as high as the second"
    assert alarms.count_all(fitted[1], 0) == 0


def test_the_daemon_takes_the_settings_as_they_are_written(tmp_path: Path, tiny_audio_file: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 60 * 16000).astype(np.float32)
    soundfile.write(tmp_path / "room.wav", noise, 16000)
    out = tmp_path / "room.toml"
    calibrated = calibrate_file(tiny_audio_file, [tmp_path / "room.wav"], 1000.0, out)
    settings = read_settings(out)
    card = Model.open(tiny_audio_file).card
    assert msgspec.to_builtins(triggers_for(settings.stream[0], card, "here")) == calibrated.figures["triggers"]
    with pytest.raises(UsageError, match="stands there already"):
        calibrate_file(tiny_audio_file, [tmp_path / "room.wav"], 1000.0, out)


def test_a_label_of_any_name_stands_in_settings(tmp_path: Path, tiny_audio_file: Path) -> None:
    trigger = Trigger(0.123456789, 0.1, 0.0, 0.5)
    strange = 'he said "go" [now] \\ é 𝄞'
    text = (
        f'[[stream]]\nname = "a"\nmodel = "{tiny_audio_file}"\nsource = "pipe:"\n{settings_lines({strange: trigger})}'
    )
    (tmp_path / "s.toml").write_text(text, "utf-8")
    found = read_settings(tmp_path / "s.toml").stream[0].detector[strange]
    assert msgspec.to_builtins(found) == msgspec.to_builtins(trigger)


def test_it_is_said_how_sure_one_can_be_of_so_few_hours() -> None:
    counts = {"false_alarms": 0, "false_alarms_per_hour": 0.0}
    figures = {
        "hours": 1.0, "budget": 0.5, "sure_under": 2.996, "supported": False, "hours_needed": 5.99,
        "at_card": counts, "calibrated": counts, "held_out": counts,
    }  # fmt: skip
    assert "95 % sure: fewer than 3," in in_words(figures)
    assert "cannot show that 0.5 an hour is kept: that takes 6.0 h without one" in in_words(figures)


def test_the_command_prints_lines_for_the_settings(tmp_path: Path, tiny_audio_file: Path) -> None:
    soundfile.write(tmp_path / "room.wav", np.zeros(16000, np.float32), 16000)
    said = CliRunner().invoke(command, [str(tiny_audio_file), str(tmp_path / "room.wav")])
    assert said.exit_code == 0
    assert "[stream.detector.yes]\nthreshold = 0.5\n" in said.stdout
