"""Signals: whatever they come in, they are parts of full scale at the model's rate; ends or groups are held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otolith.errors import OtolithError, RecordingError
from otolith.inference.card import Channel
from otolith_training.data.material import list_items
from otolith_training.data.signals import Format, Signal, read_signals, split_signals
from otolith_training.recipe_file import parse_recipe
from tests.training.machines import FULL_SCALE, RATE, vibration, write_csv, write_manifest, write_packed, write_wav
from tests.training.small import VIBRATION, changed

FORM = Format(RATE, Channel("DE", "g"), FULL_SCALE)


def test_packed_signals_are_units_over_full_scale_whatever_their_rate(tmp_path: Path) -> None:
    signals = {s.name: s for s in read_signals(write_packed(tmp_path / "set.npz").parent, FORM, group_column="load")}
    assert [(s.label, s.group) for s in signals.values()] == [
        ("sound", "0"),
        ("sound", "1"),
        ("worn", "0"),
        ("worn", "1"),
    ]
    assert {len(s.samples) for s in signals.values()} == {3 * RATE}
    worn = signals["set.npz/worn_0"].samples * FULL_SCALE
    np.testing.assert_allclose(worn, vibration("worn", 0, 3.0), atol=1e-3)
    hum = np.abs(np.fft.rfft(signals["set.npz/sound_0"].samples))
    assert int(hum.argmax()) == 300  # 100 Hz in three seconds, though it was recorded at another rate


def test_a_label_may_be_several_columns(tmp_path: Path) -> None:
    signals = read_signals(write_packed(tmp_path / "set.npz"), FORM, "label+size")
    assert {s.label for s in signals} == {"sound_0", "worn_7"}


def test_a_loggers_csv_and_a_recorders_wav_give_what_the_packed_file_does(tmp_path: Path) -> None:
    values = vibration("worn", 0, 1.0)
    write_csv(tmp_path / "worn" / "a.csv", values)
    write_wav(tmp_path / "worn" / "b.wav", values)
    write_csv(tmp_path / "sound" / "c.csv", vibration("sound", 0, 1.0, 2 * RATE), 2 * RATE)
    logged, recorded, half = (s.samples for s in sorted(read_signals(tmp_path, FORM), key=lambda s: s.path.name))
    np.testing.assert_allclose(logged, recorded, atol=1e-5)
    np.testing.assert_allclose(logged * FULL_SCALE, values, atol=1e-4)
    assert len(half) == RATE
    write_manifest(tmp_path, {"worn/a.csv": "old"})
    assert [(s.name, s.label) for s in read_signals(tmp_path, FORM)] == [("worn/a.csv", "old")]


def test_a_value_of_no_unit_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "worn" / "a.csv", vibration("worn", 0, 1.0))
    with pytest.raises(RecordingError, match="values of some unit; name it and full_scale"):
        read_signals(tmp_path, Format(RATE, Channel("DE", "full scale"), 1.0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scale": None}, "has no array scale"),
        ({"offsets": np.array([0, 10, 20])}, "do not fit each other"),
        ({"label": None}, "has no column 'label' of a value a record; it has load, record, sample_rate, size"),
        ({"channels": np.array(["FE"])}, r"has no channel DE \(found FE\)"),
        ({"sample_rate": np.array([4000, 2000, 2000, 50])}, "record worn_1: has 50 samples a second where 2000"),
        ({"scale": np.full((4, 1), np.nan)}, "record sound_0: sample 0 is not a number"),
    ],
)
def test_a_packed_file_that_does_not_hold_is_refused_with_its_place(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(RecordingError, match=said):
        read_signals(write_packed(tmp_path / "set.npz", **changes), FORM)


def test_a_folder_without_recordings_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(OtolithError, match="holds no recordings; it needs a folder a label"):
        read_signals(tmp_path, FORM)


def signal(name: str, group: str | None = None, samples: int = 1000) -> Signal:
    return Signal(name, Path(name), "worn", group, None, np.arange(samples, dtype=np.float32))


def test_the_end_of_every_record_is_held_out_where_no_group_is() -> None:
    parts = [part for part in split_signals([signal("a"), signal("b")]) if isinstance(part, Signal)]
    assert [(p.name, p.split, len(p.samples)) for p in parts[:3]] == [
        ("a:train", "train", 700), ("a:dev", "dev", 150), ("a:test", "test", 150),
    ]  # fmt: skip
    np.testing.assert_array_equal(np.concatenate([p.samples for p in parts[:3]]), np.arange(1000))


def test_groups_are_held_out_whole_and_then_no_end_is() -> None:
    parts = split_signals([signal("a", "0"), signal("b", "1"), signal("c", "2")], test=["1", "2"])
    assert [(p.name, p.split) for p in parts] == [("a:train", "train"), ("a:dev", "dev"), ("b", "test"), ("c", "test")]


def test_a_recipes_signals_have_its_labels_and_splits(tmp_path: Path) -> None:
    write_packed(tmp_path / "machines" / "set.npz")
    items = list_items(parse_recipe(VIBRATION, "small.toml"), tmp_path)
    assert sorted((item.name, item.split) for item in items) == [
        ("set.npz/sound_0:dev", "dev"), ("set.npz/sound_0:train", "train"), ("set.npz/sound_1", "test"),
        ("set.npz/worn_0:dev", "dev"), ("set.npz/worn_0:train", "train"), ("set.npz/worn_1", "test"),
    ]  # fmt: skip
    with pytest.raises(OtolithError, match="label 'worn' is none of sound, cracked"):
        list_items(parse_recipe(changed(VIBRATION, {"labels": '["sound", "cracked"]'}), "small.toml"), tmp_path)
