"""Recordings as sources, and the files that are none."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from threading import Event

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from otolith.errors import OtolithError, RecordingError, UsageError
from otolith.inference.model import Model
from otolith.recordings import load_audio, read_audio, read_sensor
from otolith.sources.open import open_source
from otolith.sources.source import Block, Spec

HEADER = "t,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z\n"
ROW = "{t:.2f},1,2,3,4,5,6\n"


def tone(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    sound = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.repeat(sound[:, None], channels, axis=1).astype(np.float32)


def blocks_of(spec: str, model: Model) -> list[Block]:
    return list(open_source(Spec.parse(spec), model.card).blocks(Event()))


@pytest.mark.parametrize(
    ("suffix", "subtype", "rate", "channels"),
    [
        ("wav", "PCM_16", 16000, 1),
        ("wav", "PCM_24", 16000, 1),
        ("wav", "PCM_U8", 8000, 1),
        ("wav", "FLOAT", 48000, 2),
        ("flac", "PCM_16", 44100, 2),
        ("ogg", "VORBIS", 22050, 1),
        ("mp3", "MPEG_LAYER_III", 44100, 2),
    ],
)
def test_any_format_and_rate_is_the_same_tone(
    tmp_path: Path, suffix: str, subtype: str, rate: int, channels: int
) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(1.0, rate, channels), rate, subtype=subtype)
    samples = load_audio(path, 16000)
    assert len(samples) == pytest.approx(16000, abs=1500)  # mp3 pads
    spectrum = np.abs(np.fft.rfft(samples[2000:14000] * np.hanning(12000)))
    assert np.argmax(spectrum) * 16000 / 12000 == pytest.approx(440, abs=2)
    assert np.abs(samples[2000:14000]).max() == pytest.approx(0.5, abs=0.02)


def test_a_paced_recording_takes_its_own_time(tmp_path: Path, tiny_audio: Model) -> None:
    soundfile.write(tmp_path / "clip.wav", tone(0.4, 16000), 16000)
    started = time.monotonic()
    blocks = blocks_of(f"recording:{tmp_path}/clip.wav", tiny_audio)
    assert time.monotonic() - started == pytest.approx(0.4, abs=0.15)
    assert sum(len(block.samples) for block in blocks) == 6400
    assert blocks[-1].time_ns - blocks[0].time_ns == pytest.approx(0.36e9)


def test_an_unpaced_recording_comes_at_once_with_the_times_it_would_have_had(tmp_path: Path, tiny_audio: Model) -> None:
    soundfile.write(tmp_path / "clip.wav", tone(20, 16000), 16000)
    started = time.monotonic()
    blocks = blocks_of(f"recording:{tmp_path}/clip.wav?pace=none", tiny_audio)
    assert time.monotonic() - started < 2
    assert blocks[-1].time_ns - blocks[0].time_ns == 19_000_000_000


def test_a_name_with_spaces_and_percent_signs_is_found(tmp_path: Path, tiny_audio: Model) -> None:
    soundfile.write(tmp_path / "100% mine.wav", tone(0.1, 16000), 16000)
    assert blocks_of(f"recording:{tmp_path}/100% mine.wav?pace=none", tiny_audio)
    soundfile.write(tmp_path / "two words.wav", tone(0.1, 16000), 16000)
    assert blocks_of(f"recording:{tmp_path}/two%20words.wav?pace=none", tiny_audio)


def test_a_silence_in_a_sensor_recording_is_declared(tmp_path: Path, tiny_sensor: Model) -> None:
    times = [i / 100 for i in range(100)] + [4 + i / 100 for i in range(100)]
    (tmp_path / "run.csv").write_text(HEADER + "".join(ROW.format(t=t) for t in times))
    blocks = blocks_of(f"recording:{tmp_path}/run.csv?pace=none", tiny_sensor)
    assert sum(len(block.samples) for block in blocks) == 200
    (gap,) = [block for block in blocks if block.lost]
    assert gap.lost == pytest.approx(3.01 * 199 / 4.99, abs=2)  # at the recording's own mean rate
    assert gap.samples.shape[1] == 6


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "run.csv").write_text("b,label,timestamp,a\n1,up,0,2\n3,down,10,4\n")
    run = read_sensor(tmp_path / "run.csv")
    np.testing.assert_array_equal(run.select(["a", "b"]), [[2, 1], [4, 3]])
    assert run.labels == ("up", "down")
    assert run.rate == pytest.approx(100)


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    table = pyarrow.table({"t": [0.0, 0.01], "a": [1.5, 2.5], "label": ["up", "down"]})
    pyarrow.parquet.write_table(table, tmp_path / "run.parquet")
    run = read_sensor(tmp_path / "run.parquet")
    np.testing.assert_array_equal(run.values, [[1.5], [2.5]])
    assert run.labels == ("up", "down")


SENSOR_FAULTS = {
    "empty": ("", "is empty"),
    "header only": (HEADER, "holds no rows"),
    "no time": ("a,b\n1,2\n", "has no time column"),
    "no channels": ("t\n0\n", "has no channels"),
    "text in a number": (HEADER + "0,1,2,three,4,5,6\n", "row 1, column acc_z: 'three' is not a number"),
    "nan": (HEADER + "0,1,2,3,4,5,6\n0.01,1,nan,3,4,5,6\n", "row 2, column acc_y: 'nan' is not a number"),
    "time backwards": (HEADER + "".join(ROW.format(t=t) for t in (0, 0.02, 0.01)), "row 3: time runs backwards"),
    "too large for a float32": (HEADER + "0,1,1e300,3,4,5,6\n", r"row 1, column acc_y: 1e\+300 is too large"),
    "short row": (HEADER + "0,1,2,3\n", "row 1 has 4 fields, the header 7"),
    "a column twice": ("t,a,a\n0,1,2\n", "names a column twice"),
    "not text": ("t,a\n\x00\xff\xfe", "is not CSV|row 1|not a number|fields"),
    "missing channel": ("t,acc_x\n0,1\n0.01,2\n", "has no column acc_y, acc_z"),
}


@pytest.mark.parametrize(("content", "why"), SENSOR_FAULTS.values(), ids=SENSOR_FAULTS.keys())
def test_a_sensor_file_at_fault_is_told_by_row_and_column(
    tmp_path: Path, tiny_sensor: Model, content: str, why: str
) -> None:
    (tmp_path / "run.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(RecordingError, match=why) as caught:
        open_source(Spec.parse(f"recording:{tmp_path}/run.csv"), tiny_sensor.card)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_too_long_is_told(tiny_audio: Model) -> None:
    with pytest.raises(RecordingError, match="cannot be looked at"):
        open_source(Spec.parse(f"recording:{'a' * 300}"), tiny_audio.card)


def test_a_packed_table_that_is_damaged_is_told(tmp_path: Path) -> None:
    content = bytearray(gzip.compress((HEADER + ROW.format(t=0)).encode(), mtime=0))
    content[12] ^= 0xFF  # within its first block
    (tmp_path / "run.csv.gz").write_bytes(content)
    with pytest.raises(RecordingError, match="is not CSV text"):
        read_sensor(tmp_path / "run.csv.gz")


@pytest.mark.parametrize("spoilt", [b"PAR1", b"t\xff", b"acc_x"])
def test_a_parquet_file_that_is_damaged_is_told(tmp_path: Path, spoilt: bytes) -> None:
    path = tmp_path / "run.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"t": [0.0, 1.0], "acc_x": [1.0, 2.0]}), path)
    path.write_bytes(path.read_bytes().replace(b"acc_x", b"acc\xff\xfe") if spoilt == b"acc_x" else spoilt * 99)
    with pytest.raises(RecordingError, match="is not Parquet"):
        read_sensor(path)


def write_nan(path: Path) -> None:
    sound = tone(0.1, 16000)
    sound[77] = np.nan
    soundfile.write(path, sound, 16000, subtype="FLOAT")


AUDIO_FAULTS = {
    "empty file": (lambda path: path.write_bytes(b""), "cannot be read as sound"),
    "corrupt": (lambda path: path.write_bytes(b"RIFF" + bytes(range(256))), "cannot be read as sound"),
    "no samples": (lambda path: soundfile.write(path, np.zeros((0, 1)), 16000), "holds no samples"),
    "nan": (write_nan, "sample 77 is not a number"),
    "missing": (lambda _path: None, "does not exist"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
}


@pytest.mark.parametrize(("make", "why"), AUDIO_FAULTS.values(), ids=AUDIO_FAULTS.keys())
def test_a_sound_file_at_fault_is_told(tmp_path: Path, make, why: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "clip.wav")
    with pytest.raises(RecordingError, match=why) as caught:
        read_audio(tmp_path / "clip.wav")
    assert str(tmp_path / "clip.wav") in str(caught.value)


def test_a_wav_that_claims_more_than_it_holds_gives_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(0.1, 16000), 16000)
    content = bytearray(path.read_bytes())
    content[40:44] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    assert len(read_audio(path)[0]) == 1600


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("clip.wav", "begins with none of microphone:, recording:, pipe:"),
        ("tape:clip.wav", "begins with none of"),
        ("recording:", "names no file"),
        ("recording:clip.wav?speed=2", "unknown option speed; it knows pace"),
        ("recording:clip.wav?pace=slow", "pace is 'slow'; it must be one of real, none"),
        ("pipe:?rate=fast", "rate is 'fast'; it must be from 1 to 1000000"),
        ("pipe:?rate=0", "it must be from 1"),
        ("microphone:?block_ms=100000", "block_ms is '100000'"),
    ],
)
def test_a_spec_that_cannot_be_meant_is_a_usage_error(tiny_audio: Model, spec: str, why: str) -> None:
    with pytest.raises(OtolithError, match=why) as caught:
        open_source(Spec.parse(spec), tiny_audio.card)
    assert isinstance(caught.value, UsageError)
