"""Tracks: long recordings and their events, read with care and heard with the state carried throughout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from otolith.errors import OtolithError, RecordingError
from otolith.inference.events import Posteriors
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith_training.measure.tracks import (
    Event,
    Recording,
    Track,
    find_recordings,
    hear,
    hear_all,
    hours_of,
    negative_hours_of,
    read_blocks,
    tracks_of_labels,
)

RATE = 16000


def noise(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)


def folder(tmp_path: Path, events: str, manifest: str | None = "file\na.wav\n") -> Path:
    soundfile.write(tmp_path / "a.wav", noise(3), RATE, subtype="FLOAT")
    (tmp_path / "events.csv").write_text(events)
    if manifest is not None:
        (tmp_path / "manifest.csv").write_text(manifest)
    return tmp_path


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ("file,start,end\na.wav,0,1\n", "has no column label"),
        ("file,start,end,label\na.wav,0,1,maybe\n", r"line 2: label 'maybe' is none that the model tells \(yes, no"),
        ("file,start,end,label\na.wav,1,1,yes\n", "line 2: an event from 1 to 1 s"),
        ("file,start,end,label\na.wav,-1,1,yes\n", "line 2: an event from -1 to 1 s"),
        ("file,start,end,label\na.wav,soon,1,yes\n", "line 2: start is 'soon'; write seconds"),
        ("file,start,end,label\na.wav,nan,1,yes\n", "line 2: start is 'nan'; write seconds"),
        ("file,start,end,label\nb.wav,0,1,yes\n", "names 1 recordings that are not there, the first 'b.wav'"),
        ("file,start,end,label\na.wav,2,4,yes\n", "from 2 to 4 s, but the recording lasts 3.00 s"),
    ],
)
def test_what_is_wrong_with_events_is_said(tmp_path: Path, tiny_audio: Model, events: str, said: str) -> None:
    data = folder(tmp_path, events)
    with pytest.raises(RecordingError, match=said):
        hear_all(tiny_audio, find_recordings(data, tiny_audio.card))


def test_a_manifest_that_names_a_missing_recording_is_an_error(tmp_path: Path, tiny_audio: Model) -> None:
    data = folder(tmp_path, "file,start,end,label\n", "file\na.wav\ngone.wav\n")
    with pytest.raises(OtolithError, match="names 1 of 2 files that are not there"):
        find_recordings(data, tiny_audio.card)


def test_recordings_without_events_are_heard_too_and_a_split_picks_some(tmp_path: Path, tiny_audio: Model) -> None:
    soundfile.write(tmp_path / "b.wav", noise(1), RATE)
    data = folder(tmp_path, "file,start,end,label\na.wav,0.5,1,yes\n", "file,split\na.wav,dev\nb.wav,test\n")
    assert [len(r.events) for r in find_recordings(data, tiny_audio.card)] == [1, 0]
    assert [r.name for r in find_recordings(data, tiny_audio.card, "test")] == ["b.wav"]
    (data / "manifest.csv").unlink()
    assert [r.name for r in find_recordings(data, tiny_audio.card)] == ["a.wav", "b.wav"]


def test_a_recording_is_heard_as_one_stream_hears_it(tmp_path: Path, tiny_audio: Model) -> None:
    sound = noise(70.01)  # longer than a block
    soundfile.write(tmp_path / "long.wav", sound, RATE, subtype="FLOAT")
    track = hear(Stream(tiny_audio), Recording("long.wav", tmp_path / "long.wav", (("yes", 1.0, 2.0),)))
    whole = [e.values for e in Stream(tiny_audio).push(sound) if isinstance(e, Posteriors)]
    frames = len(sound) // 320
    np.testing.assert_allclose(track.posteriors[:frames], np.concatenate(whole)[:frames], atol=1e-5)
    assert len(track.posteriors) * 320 >= len(sound) + RATE // 2, "an event at the end should have time to be told"
    assert track.events == (Event("yes", RATE, 2 * RATE),)
    assert track.length == len(sound)


def test_a_recording_of_another_rate_is_resampled_block_by_block(tmp_path: Path, tiny_audio: Model) -> None:
    soundfile.write(tmp_path / "high.wav", noise(61, rate=48000), 48000)
    assert sum(map(len, read_blocks(tmp_path / "high.wav", tiny_audio.card))) == pytest.approx(61 * RATE, abs=2)


def test_hours_without_events_leave_out_each_event_and_half_a_second_behind_once(tiny_audio: Model) -> None:
    events = (Event("yes", 0, RATE), Event("yes", RATE, 2 * RATE), Event("no", 9 * RATE, 10 * RATE))
    track = Track("t", None, np.zeros((500, 3), np.float32), events, 10 * RATE)
    assert hours_of([track], tiny_audio.card) * 3600 == pytest.approx(10)
    assert negative_hours_of([track], tiny_audio.card, ["yes"]) * 3600 == pytest.approx(10 - 2.5)
    assert negative_hours_of([track], tiny_audio.card, ["yes", "no"]) * 3600 == pytest.approx(10 - 2.5 - 1)


def test_labelled_rows_become_events_where_one_label_stands(tiny_sensor: Model) -> None:
    labels = ["WALKING"] * 3 + ["SEATED"] * 2 + ["WALKING"]
    track = tracks_of_labels(tiny_sensor.card, [("run", np.zeros((6, 2), np.float32), labels)])[0]
    assert track.events == (Event("WALKING", 0, 3), Event("SEATED", 3, 5), Event("WALKING", 5, 6))
