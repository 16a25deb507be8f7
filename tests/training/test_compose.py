"""Composed recordings: files and events as a user brings them, of what was held out, the same for the same seed."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from rich.console import Console

from otolith.cli.main import otolith
from otolith.errors import OtolithError, UsageError
from otolith_training import compose as composing
from otolith_training.compose import Order, compose
from otolith_training.measure.tracks import read_events
from otolith_training.train import train
from tests.training.small import DATA, MOTION, SOUND
from tests.training.small_forecast import FORECAST

RATE = 16000
LABELS = ("yes", "no", "_unknown_")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(SOUND)
    return path


def order(seed: int = 1, **changes: object) -> Order:
    return Order(**{"split": "test", "hours": 0.02, "seed": seed, **changes})  # type: ignore[arg-type]


def write(recipe: Path, out: Path, of: Order) -> str:
    said = StringIO()
    compose(recipe, DATA, out, of, Console(file=said, width=200))
    return said.getvalue()


def test_every_event_lies_whole_in_its_recording_with_the_time_to_tell_it(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composing, "RECORDING_S", 24.0)
    said = write(recipe, tmp_path / "out", order())
    events = read_events(tmp_path / "out" / "events.csv", LABELS)
    assert f"{sum(map(len, events.values()))} words" in said
    assert len(events) == 3
    for name, found in events.items():
        length_s = soundfile.info(tmp_path / "out" / name).duration
        assert found
        assert all(end_s + 0.5 <= length_s for _, _, end_s in found)


def test_words_are_louder_than_what_stands_between_them(recipe: Path, tmp_path: Path) -> None:
    write(recipe, tmp_path / "out", order(snr_db=(20.0, 20.0), gap_s=(1.0, 1.0)))
    sound, _ = soundfile.read(tmp_path / "out" / "stream_000.flac")
    events = read_events(tmp_path / "out" / "events.csv", LABELS)["stream_000.flac"]
    inside = np.zeros(len(sound), bool)
    for _, start_s, end_s in events:
        inside[round(start_s * RATE) : round(end_s * RATE)] = True
    assert np.mean(sound[inside] ** 2) > 4 * np.mean(sound[~inside] ** 2)


def test_the_same_seed_writes_the_same_samples_and_another_others(recipe: Path, tmp_path: Path) -> None:
    sounds = []
    for number, seed in enumerate((3, 3, 4)):
        write(recipe, tmp_path / str(number), order(seed))
        sounds.append(soundfile.read(tmp_path / str(number) / "stream_000.flac")[0])
    assert np.array_equal(sounds[0], sounds[1])
    assert not np.array_equal(sounds[0], sounds[2])


def test_a_folder_that_holds_something_is_left_alone(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds something already"):
        write(recipe, tmp_path, order())


def test_a_folder_of_speech_without_sound_is_named(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(OtolithError, match="holds no sound files"):
        write(recipe, tmp_path / "out", order(speech=(tmp_path,)))


@pytest.mark.parametrize(
    ("text", "found"), [(MOTION, "kind sensor, task tag"), (FORECAST, "kind sensor, task forecast")]
)
def test_what_is_not_composed_of_clips_is_refused_at_the_door(text: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "sensor.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"{found}.*otolith evaluate"):
        compose(path, tmp_path / "nowhere", tmp_path / "out", order(), Console(file=StringIO()))


def test_what_the_command_composes_evaluate_listens_to(recipe: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out", tmp_path / "small.onnx"
    train(recipe, DATA, model, None, Console(file=StringIO()))
    arguments = ["compose", str(recipe), "--data", str(DATA), "--out", str(out), "--hours", "0.01"]
    composed = CliRunner().invoke(otolith, [*arguments, "--speech", str(DATA / "clips")])
    assert composed.exit_code == 0, composed.output
    measured = CliRunner().invoke(otolith, ["evaluate", str(model), "--data", str(out)])
    assert measured.exit_code == 0, measured.output
    assert "1 recordings" in measured.output
