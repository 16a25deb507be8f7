"""The walk over the network: producers push to a real daemon process, a subscriber hears what the model says."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from otolith import Model, Producer, Stream, Subscriber
from otolith.inference.events import Posteriors
from otolith.wire.messages import AnyMessage, GapMessage, PosteriorsMessage, StatusMessage
from tests.conftest import ROOT
from tests.processes import DaemonProcess, run_otolith

WORDS = ROOT / "exported_models" / "words.onnx"
BLOCK = 1280


@pytest.fixture
def ingest(tmp_path: Path) -> str:
    return f"zmq+ipc://{tmp_path}/ingest"


def write_settings(folder: Path, endpoint: str, ingest: str) -> Path:
    path = folder / "otolith.toml"
    path.write_text(
        f'publish = "{endpoint}"\n[ingest]\nbind = ["{ingest}"]\nsilence_s = 1.0\n'
        f'[[route]]\npattern = "kitchen-*"\nmodel = "{WORDS}"\nposteriors_per_s = 50\n'
    )
    return path


def wait_until_heard(subscriber: Subscriber, producer: Producer, sound: NDArray[np.float32]) -> None:
    """Push until a message comes: the subscriber is connected by then."""
    for start in range(0, len(sound), BLOCK):
        producer.push(sound[start : start + BLOCK])
        if subscriber.receive(0.1) is not None:
            return
    raise AssertionError("nothing was heard")


def drain(subscriber: Subscriber) -> list[AnyMessage]:
    """All messages of streams, until they have gone and nothing but the daemon's own heartbeat came for a while."""
    messages: list[AnyMessage] = []
    deadline_s, heard_s = time.monotonic() + 20, time.monotonic()
    while time.monotonic() < deadline_s:
        message = subscriber.receive(0.2)
        if message is not None and not message.stream.startswith("@"):
            messages.append(message)
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > 1.5:
            return messages
    raise AssertionError("the daemon never fell silent")


def test_what_producers_push_a_subscriber_hears_as_the_model_alone_would_say_it(
    endpoint: str, tmp_path: Path, ingest: str, sound: NDArray[np.float32], words: Model
) -> None:
    pushed = np.round(sound[:48000] * 32767).astype(np.int16)
    settings = write_settings(tmp_path, endpoint, ingest)
    with DaemonProcess(str(settings)) as daemon, Subscriber(endpoint) as subscriber:
        with Producer(ingest, stream="kitchen-warm", rate=16000) as warm:
            wait_until_heard(subscriber, warm, sound)
        with (
            Producer(ingest, stream="kitchen-1", rate=16000) as one,
            Producer(ingest, stream="kitchen-2", rate=16000) as two,
        ):
            for start in range(0, len(pushed), BLOCK):
                one.push(pushed[start : start + BLOCK])
                two.push(pushed[::-1][start : start + BLOCK])
                time.sleep(0.02)
        messages = drain(subscriber)
        assert daemon.stop() < 1.0
        assert daemon.wait()[0] == 0
    assert not [m for m in messages if isinstance(m, GapMessage)]
    expected = Stream(words).push(pushed)[0]
    assert isinstance(expected, Posteriors)
    heard = [m.array() for m in messages if isinstance(m, PosteriorsMessage) and m.stream == "kitchen-1"]
    np.testing.assert_allclose(np.concatenate(heard), expected.values, atol=1e-4)
    last = [m for m in messages if isinstance(m, StatusMessage) and m.stream == "kitchen-2"][-1]
    assert (last.frames, last.lost) == (len(pushed) // 320, 0)
    assert subscriber.missed == 0


def test_a_stream_that_comes_back_goes_on_with_its_numbers(
    endpoint: str, tmp_path: Path, ingest: str, sound: NDArray[np.float32]
) -> None:
    settings = write_settings(tmp_path, endpoint, ingest)
    with DaemonProcess(str(settings)), Subscriber(endpoint) as subscriber:
        for _ in range(2):
            with Producer(ingest, stream="kitchen-1", rate=16000) as producer:
                wait_until_heard(subscriber, producer, sound)
                producer.push(sound[:16000])
            messages = drain(subscriber)
            assert any(isinstance(m, StatusMessage) for m in messages)
        assert subscriber.missed == 0
        assert max(m.seq for m in messages if isinstance(m, StatusMessage)) >= 1


def test_what_was_refused_is_told_by_reason_once_a_second(
    endpoint: str, tmp_path: Path, ingest: str, sound: NDArray[np.float32]
) -> None:
    settings = write_settings(tmp_path, endpoint, ingest)
    with (
        DaemonProcess(str(settings)),
        Subscriber(endpoint, stream="@ingest", kind="status") as subscriber,
        Producer(ingest, stream="kitchen-1", rate=16000) as producer,
        zmq.Context.instance().socket(zmq.DEALER) as stranger,
    ):
        stranger.connect(ingest.removeprefix("zmq+"))
        stranger.send_multipart([b"kitchen-1", b"no msgpack", b""])
        deadline_s = time.monotonic() + 10
        while not (isinstance(report := subscriber.receive(0.1), StatusMessage) and report.refused and report.streams):
            assert time.monotonic() < deadline_s, report
            producer.push(sound[:BLOCK])
    assert (report.refused, report.streams) == ({"malformed": 1}, 1)


def test_the_settings_are_checked_with_their_routes_and_doors(endpoint: str, tmp_path: Path, ingest: str) -> None:
    settings = write_settings(tmp_path, endpoint, ingest)
    code, out, _ = run_otolith("check", str(settings))
    assert code == 0
    assert f"takes streams on {ingest}" in out
    assert 'route "kitchen-*": words@' in out
    settings.write_text(
        settings.read_text().replace("posteriors_per_s = 50", "[route.detector.maybe]\nthreshold = 0.5")
    )
    code, _, said = run_otolith("check", str(settings))
    assert code == 78
    assert 'route "kitchen-*": detector.maybe' in said
