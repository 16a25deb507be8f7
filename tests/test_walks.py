"""Whole walks: a recording through a real daemon process to a real subscriber, and what stands between."""

from __future__ import annotations

import csv
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from otolith import Model, Stream, Subscriber
from otolith.inference.events import Posteriors
from otolith.wire.messages import (
    AnyMessage,
    DetectionMessage,
    GapMessage,
    PosteriorsMessage,
    StatusMessage,
    kind_of,
)
from tests.conftest import ROOT, SOUND
from tests.processes import OTOLITH, DaemonProcess, json_lines, run_otolith
from tests.tiny import write_tiny

WORDS = ROOT / "exported_models" / "words.onnx"
MOTION = ROOT / "exported_models" / "motion.onnx"
MOTION_ROWS = ROOT / "examples" / "demo" / "motion.csv"


def heard_from(subscriber: Subscriber) -> list[AnyMessage]:
    """Everything until a second of silence."""
    messages = []
    while (message := subscriber.receive(20 if not messages else 1.5)) is not None:
        messages.append(message)
    return messages


def values_of(messages: list[AnyMessage]) -> NDArray[np.float32]:
    return np.concatenate([m.array() for m in messages if isinstance(m, PosteriorsMessage)])


def write_settings(folder: Path, endpoint: str, *streams: str) -> Path:
    path = folder / "otolith.toml"
    path.write_text(f'publish = "{endpoint}"\n' + "".join(f"[[stream]]\n{stream}\n" for stream in streams))
    return path


def test_a_recording_reaches_a_subscriber_as_the_model_heard_it(
    endpoint: str, tmp_path: Path, sound: NDArray[np.float32], words: Model
) -> None:
    """Law 4's last step: what a subscriber receives is what one call over the whole recording gives."""
    soundfile.write(tmp_path / "clip.wav", sound[:48000], 16000, subtype="FLOAT")
    settings = write_settings(
        tmp_path,
        endpoint,
        f'name = "kitchen"\nmodel = "{WORDS}"\nsource = "recording:{tmp_path}/clip.wav"\nposteriors_per_s = 50',
    )
    with Subscriber(endpoint) as subscriber, DaemonProcess(str(settings)) as daemon:
        messages = heard_from(subscriber)
        assert daemon.wait()[0] == 0
    posteriors = [m for m in messages if isinstance(m, PosteriorsMessage)]
    assert {m.stream for m in messages} == {"kitchen"}
    assert {m.model for m in messages} == {words.identity}
    assert subscriber.missed == 0
    expected = Stream(words).push(sound[:48000])[0]
    assert isinstance(expected, Posteriors)
    skipped = posteriors[0].position // 320 - posteriors[0].frames  # sent before the subscriber had connected
    assert skipped < 20
    np.testing.assert_allclose(values_of(messages), expected.values[skipped:], atol=1e-4)
    assert posteriors[-1].position == 48000
    spans = np.diff([m.time_ns for m in posteriors]) / np.diff([m.position for m in posteriors])
    np.testing.assert_allclose(spans, 1e9 / 16000, rtol=1e-6)


def test_words_are_detected_when_they_are_spoken() -> None:
    """The bundled recording's truth, held loosely: the evaluation measures, this only notices a break."""
    code, out, _ = run_otolith("infer", WORDS, SOUND, "--kind", "detection", "--json")
    assert code == 0
    starts = [m for m in json_lines(out) if m["phase"] == "start" and not m["label"].startswith("_")]
    with (SOUND.parent / "words.csv").open() as file:
        truth = [row for row in csv.DictReader(file) if not row["label"].startswith("_")]
    heard = sum(
        any(m["label"] == row["label"] and -0.2 < m["time_s"] - float(row["start"]) < 1.5 for m in starts)
        for row in truth
    )
    assert heard >= len(truth) / 2
    assert len(starts) <= 1.5 * len(truth)
    assert all(m["onset_ns"] <= m["time_ns"] and m["latency_ms"] >= 0 for m in starts)


def test_silence_stays_silent(endpoint: str, tmp_path: Path) -> None:
    quiet = np.random.default_rng(0).normal(0, 1e-4, 3 * 16000)
    soundfile.write(tmp_path / "quiet.wav", quiet, 16000)
    source = f"recording:{tmp_path}/quiet.wav"
    with (
        Subscriber(endpoint) as subscriber,
        DaemonProcess("--model", str(WORDS), "--source", source, "--publish", endpoint) as daemon,
    ):
        messages = heard_from(subscriber)
        assert daemon.wait()[0] == 0
    kinds = Counter(kind_of(m) for m in messages)
    assert kinds["detection"] == kinds["gap"] == 0
    assert kinds["posteriors"] > 10
    assert kinds["status"] >= 3


def test_motion_rows_reach_a_subscriber(endpoint: str) -> None:
    with (
        Subscriber(endpoint, kind="posteriors") as subscriber,
        DaemonProcess("--model", str(MOTION), "--source", f"recording:{MOTION_ROWS}", "--publish", endpoint) as daemon,
    ):
        first = subscriber.receive(10)
        assert isinstance(first, PosteriorsMessage)
        assert first.stream == "motion"
        assert first.array().shape == (first.frames, 5)
        assert daemon.stop() < 1


def test_motion_is_inferred_row_by_row() -> None:
    code, out, _ = run_otolith("infer", MOTION, MOTION_ROWS, "--json")
    assert code == 0
    messages = json_lines(out)
    rows = sum(m["frames"] for m in messages if m["kind"] == "posteriors")
    assert rows == len(MOTION_ROWS.read_text().splitlines()) - 1
    assert {"WALKING", "SEATED"} <= {m["label"] for m in messages if m["kind"] == "detection"}
    assert all(m["file"] == str(MOTION_ROWS) for m in messages)
    assert max(m["time_s"] for m in messages) == pytest.approx(11.24, abs=0.1)


def test_two_streams_of_different_kinds_share_a_daemon(endpoint: str, tmp_path: Path) -> None:
    settings = write_settings(
        tmp_path,
        endpoint,
        f'name = "room"\nmodel = "{WORDS}"\nsource = "recording:{SOUND}"',
        f'name = "wrist"\nmodel = "{MOTION}"\nsource = "recording:{MOTION_ROWS}"',
    )
    with Subscriber(endpoint, kind="posteriors") as subscriber, DaemonProcess(str(settings)) as daemon:
        streams = Counter()
        while min(streams["room"], streams["wrist"]) < 5:
            message = subscriber.receive(10)
            assert message is not None
            streams[message.stream] += 1
        assert daemon.stop() < 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_daemon_within_a_second_with_its_last_words(endpoint: str, number: signal.Signals) -> None:
    with (
        Subscriber(endpoint) as subscriber,
        DaemonProcess("--model", str(WORDS), "--source", f"recording:{SOUND}", "--publish", endpoint) as daemon,
    ):
        assert subscriber.receive(10) is not None
        time.sleep(0.5)
        assert daemon.stop(number) < 1
        assert daemon.process.returncode == 0
        messages = heard_from(subscriber)
    last = messages[-1]
    assert isinstance(last, StatusMessage)
    frames = [m.position for m in messages if isinstance(m, PosteriorsMessage)]
    assert last.frames * 320 == max(frames), "the last posteriors were published, and counted"
    assert subscriber.missed == 0


def test_a_pipe_is_heard_and_its_last_words_are_published(endpoint: str, sound: NDArray[np.float32]) -> None:
    counts = (sound[:32100] * 32767).astype("<i2").tobytes()
    with (
        Subscriber(endpoint) as subscriber,
        DaemonProcess(
            "--model", str(WORDS), "--source", "pipe:", "--publish", endpoint, "--name", "door", stdin=subprocess.PIPE
        ) as daemon,
    ):
        pipe = daemon.process.stdin
        assert pipe is not None
        pipe.write(counts[:6400])
        pipe.flush()
        assert subscriber.receive(10) is not None
        pipe.write(counts[6400:])
        pipe.close()
        daemon.process.stdin = None
        messages = heard_from(subscriber)
        assert daemon.wait()[0] == 0
    gap = next(m for m in messages if isinstance(m, GapMessage))
    status = [m for m in messages if isinstance(m, StatusMessage)][-1]
    assert gap.lost == 32100 % 320
    assert status.frames * 320 + status.lost == 32100


def test_a_stalled_subscriber_delays_nobody(endpoint: str) -> None:
    with (
        Subscriber(endpoint) as healthy,
        Subscriber(endpoint),
        DaemonProcess("--model", str(WORDS), "--source", f"recording:{SOUND}", "--publish", endpoint),
    ):
        positions = [m.position for _ in range(20) if isinstance(m := healthy.receive(10), PosteriorsMessage)]
    assert positions == sorted(positions)
    assert healthy.missed == 0


def test_systemd_is_told_when_frames_flow(endpoint: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        arguments = ("--model", str(WORDS), "--source", f"recording:{SOUND}", "--publish", endpoint)
        with DaemonProcess(*arguments, NOTIFY_SOCKET=str(tmp_path / "notify")) as daemon:
            said = [manager.recv(1000).decode().splitlines()[0] for _ in range(3)]
            assert said == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
            daemon.stop()
            assert manager.recv(1000).decode().startswith("STOPPING=1")


def test_the_watchdog_starves_when_no_frames_flow(endpoint: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        arguments = ("--model", str(WORDS), "--source", "pipe:", "--publish", endpoint)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with DaemonProcess(*arguments, stdin=subprocess.PIPE, **environment):
            notes = [manager.recv(1000) for _ in range(3)]
        assert all(note.startswith(b"STATUS=nothing is heard") for note in notes)


def test_the_subscriber_prints_a_json_object_a_line(endpoint: str) -> None:
    arguments = ("--model", str(WORDS), "--source", f"recording:{SOUND}", "--publish", endpoint)
    with DaemonProcess(*arguments):
        command = ("subscribe", endpoint, "--json", "--kind", "posteriors", "--count", "3", "--timeout", "10")
        code, out, _ = run_otolith(*command)
    messages = json_lines(out)
    assert code == 0
    assert [m["kind"] for m in messages] == ["posteriors"] * 3
    assert len(messages[0]["values"]) == messages[0]["frames"]
    assert len(messages[0]["values"][0]) == len(messages[0]["labels"]) == 12


def test_a_subscriber_to_nothing_says_so(endpoint: str) -> None:
    code, out, said = run_otolith("subscribe", endpoint, "--timeout", "0.3")
    assert (code, out) == (1, "")
    assert "nothing for 0.3 s; is the daemon running?" in said


def test_a_subscriber_ends_quietly_when_its_reader_goes_away(endpoint: str) -> None:
    arguments = ("--model", str(WORDS), "--source", f"recording:{SOUND}", "--publish", endpoint)
    with DaemonProcess(*arguments):
        command = " ".join([*OTOLITH, "subscribe", endpoint, "--json", "--timeout", "10"])
        done = subprocess.run(f"{command} | head -n 1", shell=True, capture_output=True, timeout=30, check=False)  # noqa: S602
    assert done.stdout.startswith(b"{")
    assert b"Traceback" not in done.stderr


def test_the_ten_line_example_runs(endpoint: str) -> None:
    arguments = ("--model", str(WORDS), "--source", f"recording:{SOUND}", "--publish", endpoint)
    with DaemonProcess(*arguments):
        example = [sys.executable, str(ROOT / "examples" / "subscribe.py"), endpoint]
        with subprocess.Popen(example, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert "start" in process.stdout.readline()
            process.kill()


def test_nothing_is_written_or_looked_up_beyond_what_was_asked(endpoint: str, tmp_path: Path) -> None:
    """No telemetry: a home that stays empty, and no socket but the one that was configured."""
    home = tmp_path / "home"
    home.mkdir()
    arguments = ("--model", str(WORDS), "--source", f"recording:{SOUND}", "--publish", endpoint)
    with DaemonProcess(*arguments, HOME=str(home)) as daemon, Subscriber(endpoint) as subscriber:
        assert subscriber.receive(10) is not None
        inet = [Path(f"/proc/{daemon.process.pid}/net/{name}").read_text() for name in ("tcp", "udp")]
        held = {link.readlink().name for link in Path(f"/proc/{daemon.process.pid}/fd").iterdir() if link.is_symlink()}
        inodes = {name.removeprefix("socket:[").rstrip("]") for name in held if name.startswith("socket:[")}
        assert not [line for text in inet for line in text.splitlines()[1:] if line.split()[9] in inodes]
    assert list(home.rglob("*")) == []


def test_a_detection_start_is_always_followed_by_its_end() -> None:
    code, out, _ = run_otolith("infer", WORDS, SOUND, "--kind", "detection", "--json")
    assert code == 0
    phases: dict[int, list[str]] = {}
    for message in json_lines(out):
        phases.setdefault(message["id"], []).append(message["phase"])
    assert phases
    assert set(map(tuple, phases.values())) == {("start", "end")}


def test_lines_on_a_pipe_reach_a_subscriber_each_with_its_label(endpoint: str, tmp_path: Path) -> None:
    """Law 4's last step for tokens: what is received is what one call over each line gives."""
    path = write_tiny(tmp_path / "sentences.onnx", "token", "classify")
    model = Model.open(path)
    arguments = ("run", "--model", str(path), "--source", "pipe:", "--publish", endpoint)
    with Subscriber(endpoint, kind=("posteriors", "detection", "gap")) as subscriber:
        daemon = subprocess.Popen([*OTOLITH, *arguments], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert daemon.stdin is not None
        while subscriber.receive(0.2) is None:  # until the subscriber is known
            daemon.stdin.write(b"film\n")
            daemon.stdin.flush()
        heard_from(subscriber)
        daemon.stdin.write(b"a good film\nsurely bad\n")
        daemon.stdin.flush()
        messages = heard_from(subscriber)
        daemon.stdin.close()
        assert daemon.wait(20) == 0
    expected = []
    for ids in ([1, 2, 4], [0, 3]):
        outputs, _ = model.step(np.array([ids]), model.fresh_state())
        expected.append(outputs[0])
    np.testing.assert_allclose(values_of(messages), np.concatenate(expected), atol=1e-4)
    told = [(m.label, m.phase) for m in messages if isinstance(m, DetectionMessage)]
    labels = [model.card.labels[int(rows[-1].argmax())] for rows in expected]
    assert told == [(label, phase) for label in labels for phase in ("start", "end")]
    assert [(m.lost, m.reason) for m in messages if isinstance(m, GapMessage)] == [(0, "the utterance ended")] * 2
