"""The microphone, on a real sound server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from otolith import Subscriber
from otolith.wire.messages import AnyMessage, DetectionMessage, GapMessage, StatusMessage
from tests.conftest import ROOT, SOUND
from tests.processes import DaemonProcess
from tests.sources.pulse import PulseServer, missing_parts

missing = missing_parts()
pytestmark = pytest.mark.skipif(missing is not None, reason=missing or "")


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[PulseServer]:
    server = PulseServer(tmp_path)
    yield server
    server.kill()


def capture(pulse: PulseServer, path: Path, seconds: float, block_ms: int, rate: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.sources.capture", str(path), str(seconds), str(block_ms), str(rate)]
    return subprocess.Popen(command, env=pulse.environment, stdout=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.fixture
def played(sound: NDArray[np.float32], tmp_path: Path) -> NDArray[np.int16]:
    """A second of real sound, also in `clip.wav`."""
    counts = (sound[16000:32000] * 32767).round().astype(np.int16)
    soundfile.write(tmp_path / "clip.wav", counts, 16000, subtype="PCM_16")
    return counts


@pytest.mark.parametrize("block_ms", [10, 80])
def test_what_is_played_is_captured_sample_for_sample(
    pulse: PulseServer, tmp_path: Path, played: NDArray[np.int16], block_ms: int
) -> None:
    process = capture(pulse, tmp_path / "captured.npy", 3.0, block_ms, rate=16000)
    assert first_line(process).startswith("listening 16000")
    pulse.play(tmp_path / "clip.wav")
    rest, _ = process.communicate(timeout=20)
    assert f"lost 0 block lengths [{16 * block_ms}]" in rest
    captured = np.load(tmp_path / "captured.npy")
    at = best_lag(captured, played)
    np.testing.assert_array_equal(captured[at : at + len(played)], played)


def test_a_device_is_opened_at_its_own_rate(pulse: PulseServer, tmp_path: Path, played: NDArray[np.int16]) -> None:
    process = capture(pulse, tmp_path / "captured.npy", 3.0, 40)
    rate = float(first_line(process).split()[1])
    assert rate == 44100  # what ALSA says of its pulse device
    pulse.play(tmp_path / "clip.wav")
    process.communicate(timeout=20)
    expected = soxr.resample(played / 32768, 16000, rate)
    captured = np.load(tmp_path / "captured.npy") / 32768
    at = best_lag(captured, expected)
    assert np.corrcoef(captured[at : at + len(expected)], expected)[0, 1] > 0.99


def best_lag(long: NDArray[Any], short: NDArray[Any]) -> int:
    """Where `short` begins in `long`, by cross-correlation."""
    size = 1 << (len(long) + len(short)).bit_length()
    spectrum = np.fft.rfft(long.astype(float), size) * np.conj(np.fft.rfft(short.astype(float), size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: len(long) - len(short) + 1]))


def test_a_sound_server_that_dies_is_noticed(pulse: PulseServer, tmp_path: Path) -> None:
    process = capture(pulse, tmp_path / "captured.npy", 30, 20)
    assert first_line(process).startswith("listening")
    pulse.kill()
    killed = time.monotonic()
    told = first_line(process)
    assert "vanished" in told or "gave nothing" in told
    assert time.monotonic() - killed < 3
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_word_said_into_the_microphone_reaches_a_subscriber(pulse: PulseServer, endpoint: str) -> None:
    model = str(ROOT / "exported_models" / "words.onnx")
    arguments = ("--model", model, "--source", "microphone:pulse", "--publish", endpoint)
    with (
        DaemonProcess(*arguments, **pulse.environment) as daemon,
        Subscriber(endpoint, kind=["detection", "status"]) as subscriber,
    ):
        assert subscriber.receive(10) is not None  # it listens
        pulse.play(SOUND)
        assert daemon.stop() < 1
        messages = list(iter(lambda: subscriber.receive(1.5), None))
    starts = [m.label for m in messages if isinstance(m, DetectionMessage) and m.phase == "start"]
    assert len(set(starts) - {"_unknown_"}) >= 4
    last = messages[-1]
    assert isinstance(last, StatusMessage)
    assert (last.gaps, last.drops) == (last.gaps and 1, 0), "no gap but the broken frame at the end"


def listen(subscriber: Subscriber, is_enough: Callable[[AnyMessage], bool], timeout_s: float) -> list[AnyMessage]:
    """Messages until one is enough."""
    messages, deadline_s = [], time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if (message := subscriber.receive(0.1)) is not None:
            messages.append(message)
            if is_enough(message):
                return messages
    raise AssertionError(f"not within {timeout_s} s: {messages[-1:]}")


def is_listening(message: AnyMessage) -> bool:
    return isinstance(message, StatusMessage) and message.state == "listening" and message.frames > 0


def is_gap(message: AnyMessage) -> bool:
    return isinstance(message, GapMessage)


def test_a_sound_server_that_dies_and_comes_back_is_heard_again(
    pulse: PulseServer, endpoint: str, tiny_audio_file: Path
) -> None:
    arguments = ("--model", str(tiny_audio_file), "--source", "microphone:pulse", "--publish", endpoint)
    with DaemonProcess(*arguments, **pulse.environment), Subscriber(endpoint, kind=["gap", "status"]) as subscriber:
        listen(subscriber, is_listening, 10)
        began_s = time.monotonic()
        before = listen(subscriber, is_listening, 3)[-1]
        pulse.kill()
        gap = listen(subscriber, is_gap, 3)[-1]
        assert isinstance(gap, GapMessage)
        assert "microphone 'pulse'" in gap.reason
        away = listen(subscriber, lambda m: isinstance(m, StatusMessage), 3)[-1]
        assert isinstance(away, StatusMessage)
        assert "microphone" in away.state
        pulse.start()
        after = listen(subscriber, is_listening, 5)[-1]
        passed = (time.monotonic() - began_s) * 16000
    assert isinstance(before, StatusMessage)
    assert isinstance(after, StatusMessage)
    accounted = 320 * (after.frames - before.frames) + after.lost - before.lost
    assert accounted == pytest.approx(passed, abs=2 * 16000), "all that passed was heard or declared, to a heartbeat"
    assert subscriber.missed == 0


def test_a_sound_server_that_hangs_ends_the_daemon_behind_its_gap(
    pulse: PulseServer, endpoint: str, tiny_audio_file: Path
) -> None:
    arguments = ("--model", str(tiny_audio_file), "--source", "microphone:pulse", "--publish", endpoint)
    with (
        DaemonProcess(*arguments, **pulse.environment) as daemon,
        Subscriber(endpoint, kind=["gap", "status"]) as subscriber,
    ):
        listen(subscriber, is_listening, 10)
        pulse.freeze()
        code, said = daemon.wait(15)
        assert code == 1
        assert "cannot be let go" in said
        messages = list(iter(lambda: subscriber.receive(0.5), None))
    assert any("stalled" in m.reason for m in messages if isinstance(m, GapMessage))


def otolith(pulse: PulseServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "otolith", *arguments]
    return subprocess.run(command, env=pulse.environment, capture_output=True, text=True, timeout=30, check=False)


def test_devices_are_listed_with_their_rates(pulse: PulseServer) -> None:
    found = otolith(pulse, "devices")
    assert found.returncode == 0
    assert "pulse" in found.stdout
    assert "Hz" in found.stdout


def test_an_unknown_device_is_answered_with_those_there_are(pulse: PulseServer, tiny_audio_file: Path) -> None:
    found = otolith(pulse, "run", "--model", str(tiny_audio_file), "--source", "microphone:Nobody")
    assert found.returncode == 1
    assert "microphone 'Nobody': no such device; there are" in found.stderr
    assert "'pulse'" in found.stderr
