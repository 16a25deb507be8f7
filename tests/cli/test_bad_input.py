"""Bad input on the command line: one clear line, the right exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import zmq

from tests.processes import OTOLITH, DaemonProcess, run_otolith

STREAM = '[[stream]]\nname = "kitchen"\nmodel = "{model}"\nsource = "recording:clip.wav"\n'
ROUTE = '[[route]]\npattern = "kitchen-*"\nmodel = "{model}"\n'

SETTINGS_FAULTS: dict[str, tuple[str, str]] = {
    "not toml": ("publish = ", "is not TOML"),
    "no streams": ("stream = []", "nothing to listen to"),
    "unknown key": ('colour = "red"\n' + STREAM, 'unknown key "colour"'),
    "unknown key of a stream": (STREAM + "gain = 3\n", 'stream[1]: unknown key "gain"'),
    "missing key": ('[[stream]]\nname = "kitchen"\n', 'stream[1]: key "model" is missing'),
    "two streams of one name": (STREAM + STREAM, 'two streams are named "kitchen"'),
    "a name with a slash": (STREAM.replace("kitchen", "a/b"), "stream[1].name"),
    "missing model": (STREAM.replace("{model}", "gone.onnx"), "gone.onnx does not exist"),
    "wrong type": (STREAM + 'resample = "yes"\n', "stream[1].resample"),
    "a stream from the network": (STREAM.replace("recording:clip.wav", "udp://127.0.0.1:1"), "name it in [ingest]"),
    "ingest without routes": ("[ingest]\n", "[ingest] without a [[route]]"),
    "routes without ingest": (STREAM + ROUTE, "a [[route]] without [ingest]"),
    "a route without a model": ("[ingest]\n" + ROUTE.replace("{model}", "gone.onnx"), 'route "kitchen-*": model'),
    "a route that is never reached": ("[ingest]\n" + ROUTE.replace("kitchen-*", "*") + ROUTE, "route[2]"),
    "less memory than streams": ("[ingest]\nmax_bytes = 65536\n" + ROUTE, "leaves 1000 streams less than 4096"),
    "no memory for a stream": ("[ingest]\nmax_bytes_per_stream = 1\n" + ROUTE, "ingest.max_bytes_per_stream"),
    "unknown label": (STREAM + "[stream.detector.maybe]\nthreshold = 0.5\n", "the model has no such label"),
    "threshold above one": (STREAM + "[stream.detector.yes]\nthreshold = 1.5\n", "threshold is 1.5"),
    "an open address": ('publish = "tcp://0.0.0.0:7311"\n' + STREAM, "only loopback"),
    "an endpoint that is none": ('publish = "here"\n' + STREAM, "write tcp://127.0.0.1:PORT"),
    "a source that is none": (STREAM.replace("recording:", "tape:"), "begins with none of"),
    "an unknown option of a source": (STREAM.replace("recording:clip.wav", "pipe:?speed=2"), "unknown option speed"),
    "a batch of none": (STREAM + "[engine]\nlargest_batch = 0\n", "engine.largest_batch"),
    "resample off": (STREAM + "resample = false\n", "source gives 8000 Hz and resample is off; set resample = true"),
}


def told(code: int, out: str, said: str, expected: int, why: str) -> None:
    assert code == expected, said
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1, said
    assert said.startswith("otolith: ")
    assert why in said
    assert out == ""


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(("text", "why"), SETTINGS_FAULTS.values(), ids=SETTINGS_FAULTS.keys())
def test_settings_at_fault_exit_with_78(
    tmp_path: Path, tiny_audio_file: Path, command: str, text: str, why: str
) -> None:
    soundfile.write(tmp_path / "clip.wav", np.zeros(800), 8000)
    settings = tmp_path / "otolith.toml"
    text = text.replace("recording:clip.wav", f"recording:{tmp_path}/clip.wav?pace=none")
    settings.write_text(text.replace("{model}", str(tiny_audio_file)))
    told(*run_otolith(command, settings), expected=78, why=why)


def test_a_missing_settings_file_exits_with_78(tmp_path: Path) -> None:
    told(*run_otolith("run", tmp_path / "gone.toml"), expected=78, why="cannot be read (No such file or directory)")


def truncated(path: Path, whole: bytes) -> None:
    path.write_bytes(whole[: len(whole) // 2])


def text(path: Path, _whole: bytes) -> None:
    path.write_bytes(b"I am no model" * 100)


def empty(path: Path, _whole: bytes) -> None:
    path.write_bytes(b"")


def flipped(path: Path, whole: bytes) -> None:
    at = whole.index(b"w_out") - 8
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])


@pytest.mark.parametrize("spoil", [truncated, text, empty, flipped])
@pytest.mark.parametrize("command", ["check", "infer", "run"])
def test_a_model_at_fault_exits_with_78(
    tmp_path: Path, tiny_audio_file: Path, command: str, spoil: Callable[[Path, bytes], None]
) -> None:
    path = tmp_path / "model.onnx"
    spoil(path, tiny_audio_file.read_bytes())
    arguments = {
        "check": (path,),
        "infer": (path, "clip.wav"),
        "run": ("--model", path, "--source", "recording:clip.wav"),
    }[command]
    told(*run_otolith(command, *arguments), expected=78, why=str(path))


def test_a_recording_at_fault_exits_with_1(tmp_path: Path, tiny_audio_file: Path) -> None:
    (tmp_path / "clip.wav").write_bytes(b"RIFF")
    told(*run_otolith("infer", tiny_audio_file, tmp_path / "clip.wav"), expected=1, why="cannot be read as sound")


def test_a_recording_at_fault_does_not_keep_the_others_from_being_heard(tmp_path: Path, tiny_audio_file: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "good.wav", np.zeros(3200), 16000)
    command = ("infer", tiny_audio_file, tmp_path / "bad.wav", tmp_path / "good.wav", "--kind", "posteriors")
    code, out, said = run_otolith(*command)
    assert code == 1
    assert "bad.wav: cannot be read as sound" in said
    assert "good.wav" in out


def test_a_sensor_model_refuses_rows_of_another_rate(tmp_path: Path, tiny_sensor_file: Path) -> None:
    rows = "".join(f"{i / 50},1,2,3,4,5,6\n" for i in range(100))
    (tmp_path / "run.csv").write_text("t,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z\n" + rows)
    why = "model expects rows at 100 Hz, source gives 50 Hz"
    told(*run_otolith("infer", tiny_sensor_file, tmp_path / "run.csv"), expected=1, why=why)


def test_a_sound_file_for_a_sensor_model_is_told_apart(tmp_path: Path, tiny_sensor_file: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", np.zeros(800), 8000)
    told(
        *run_otolith("infer", tiny_sensor_file, tmp_path / "clip.wav"),
        expected=1,
        why="ends in .csv, .csv.gz or .parquet",
    )


def test_a_sensor_model_refuses_a_microphone(tiny_sensor_file: Path) -> None:
    found = run_otolith("run", "--model", tiny_sensor_file, "--source", "microphone:")
    told(*found, expected=78, why="the model takes sensor rows")


def test_no_microphone_says_what_to_use_instead(tiny_audio_file: Path) -> None:
    code, out, said = run_otolith("run", "--model", tiny_audio_file, "--source", "microphone:")
    if "cannot be opened" in said or code == 0:
        pytest.xfail("this machine has a microphone")
    told(code, out, said, expected=1, why="use recording: or pipe:")


def test_no_portaudio_says_what_to_install(tmp_path: Path, tiny_audio_file: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    command = [*OTOLITH, "run", "--model", str(tiny_audio_file), "--source", "microphone:"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    told(done.returncode, done.stdout, done.stderr, expected=1, why="apt-get install libportaudio2")


def test_an_endpoint_in_use_is_told(tmp_path: Path, tiny_audio_file: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as taken:
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        soundfile.write(tmp_path / "clip.wav", np.zeros(1600), 16000)
        source = f"recording:{tmp_path}/clip.wav"
        found = run_otolith(
            "run", "--model", tiny_audio_file, "--source", source, "--publish", f"tcp://127.0.0.1:{port}"
        )
    told(*found, expected=1, why="address already in use")


def test_a_second_daemon_on_one_socket_file_is_refused(endpoint: str, tiny_audio_file: Path) -> None:
    arguments = ("--model", str(tiny_audio_file), "--source", "pipe:", "--publish", endpoint)
    with DaemonProcess(*arguments, stdin=subprocess.PIPE) as first:
        assert first.process.stderr is not None
        assert b"publishing on" in first.process.stderr.readline()
        told(*run_otolith("run", *arguments), expected=1, why="another daemon holds")


def test_a_daemon_takes_over_a_socket_file_that_a_dead_one_left(endpoint: str, tiny_audio_file: Path) -> None:
    arguments = ("--model", str(tiny_audio_file), "--source", "pipe:", "--publish", endpoint)
    with DaemonProcess(*arguments, stdin=subprocess.PIPE) as first:
        assert first.process.stderr is not None
        first.process.stderr.readline()
        first.process.kill()
    assert Path(endpoint.removeprefix("ipc://")).exists()
    code, _, said = run_otolith("run", *arguments, stdin=bytes(6400))
    assert code == 0, said


def test_a_pipe_that_ends_in_the_middle_of_a_sample_exits_with_1(endpoint: str, tiny_audio_file: Path) -> None:
    arguments = ("run", "--model", tiny_audio_file, "--source", "pipe:", "--publish", endpoint)
    code, _, said = run_otolith(*arguments, stdin=bytes(3201))
    assert code == 1
    assert "Traceback" not in said
    assert "ended in the middle of a sample (1 of 2 bytes)" in said.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "--model", "words.onnx"],
        ["run", "otolith.toml", "--model", "words.onnx", "--source", "pipe:"],
        ["run", "--model", "words.onnx", "--source", "tape:clip.wav"],
        ["infer", "words.onnx"],
        ["subscribe", "--count", "0"],
        ["subscribe", "--kind", "thoughts"],
        ["dance"],
        ["check"],
        ["send"],
    ],
)
def test_a_command_that_cannot_be_meant_exits_with_2(arguments: list[str]) -> None:
    code, _, said = run_otolith(*arguments)
    assert code == 2
    assert "Traceback" not in said


@pytest.mark.parametrize("endpoint", ["here", "tcp://nowhere", "carrier-pigeon://coop"])
def test_an_endpoint_that_is_none_is_told(endpoint: str) -> None:
    told(*run_otolith("subscribe", endpoint, "--timeout", "1"), expected=1, why="write tcp://HOST:PORT or ipc:///PATH")


def test_check_says_what_a_model_promises(tiny_audio_file: Path) -> None:
    code, out, said = run_otolith("check", tiny_audio_file)
    assert (code, said) == (0, "")
    assert "50 frames a second" in out
    assert out.endswith("good\n")
