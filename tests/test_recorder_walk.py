"""The walk of a recording: a real daemon records, is killed and stopped; it is replayed, verified and forgotten."""

from __future__ import annotations

import json
import resource
import signal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otolith import Producer, Subscriber
from otolith.wire.messages import PosteriorsMessage, StatusMessage
from tests.processes import json_lines, run_otolith
from tests.test_state_walk import BLOCK, Walk, greet, push, stands_at


def recording(folder: Path, endpoint: str) -> tuple[Walk, Path]:
    walk, tapes = Walk(folder, endpoint), folder / "tapes"
    with walk.settings.open("a") as file:
        file.write('[recorder]\nfolder = "tapes"\nsegment_s = 0.5\nstreams = ["room*"]\n')
    return walk, tapes


def test_what_was_recorded_before_and_behind_a_kill_says_again_what_was_published(
    endpoint: str, tmp_path: Path, sound: NDArray[np.float32], tiny_audio_file: Path
) -> None:
    pushed = np.round(sound * 32767).astype(np.int16)
    walk, tapes = recording(tmp_path, endpoint)
    with Subscriber(endpoint) as subscriber, Producer(walk.ingest, stream="room", rate=16000) as producer:
        with walk.daemon() as daemon:
            greet(walk, subscriber, pushed, "guest-1")
            push(producer, pushed[: 20 * BLOCK])
            walk.hear_until(subscriber, stands_at("room", 20 * BLOCK))
            walk.hear_until(subscriber, lambda m: isinstance(m, StatusMessage) and m.stream == "room")
            walk.wait_until_kept()
            daemon.stop(signal.SIGKILL)
        with walk.daemon() as daemon:
            greet(walk, subscriber, pushed, "guest-2")
            for stop in (30, 40, 50):  # a stream that comes faster than real time may have two seconds waiting
                push(producer, pushed[(stop - 10) * BLOCK : stop * BLOCK])
                walk.hear_until(subscriber, stands_at("room", stop * BLOCK))
            daemon.stop()
    assert sorted(path.name for path in tapes.iterdir()) == ["models", "room"]  # guests are in no pattern
    code, said, _ = run_otolith("replay", tapes, "--verify")
    assert (code, said.count("the same")) == (0, 2), said
    code, said, _ = run_otolith("replay", tapes, "--json", "--kind", "posteriors")
    assert code == 0
    again = [m for m in json_lines(said) if m["boot"] == walk.messages[-1].boot]
    told = [m for m in walk.of("room") if isinstance(m, PosteriorsMessage) and m.boot == walk.messages[-1].boot]
    values = np.concatenate([np.array(m["values"]) for m in again])
    np.testing.assert_allclose(values, np.concatenate([m.array() for m in told]), atol=1e-5)
    code, said, _ = run_otolith("replay", tapes / "room", "--model", tiny_audio_file, "--json")
    assert code == 0
    assert {json.loads(line)["model"].partition("@")[0] for line in said.splitlines()} == {"tiny-audio"}
    code, said, _ = run_otolith("forget", walk.settings, "--all", "--yes")
    assert code == 0
    assert "recordings of room" in said
    assert not list(tapes.iterdir())
    assert not list(walk.state.glob("*.state"))


def test_a_full_disk_breaks_the_recording_alone_and_it_begins_again(
    endpoint: str, tmp_path: Path, sound: NDArray[np.float32]
) -> None:
    pushed = np.round(sound * 32767).astype(np.int16)
    walk, tapes = recording(tmp_path, endpoint)
    with (
        Subscriber(endpoint) as subscriber,
        Producer(walk.ingest, stream="room", rate=16000) as producer,
        walk.daemon() as daemon,
    ):
        greet(walk, subscriber, pushed, "guest")
        push(producer, pushed[: 5 * BLOCK])
        walk.hear_until(subscriber, stands_at("room", 5 * BLOCK))
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        push(producer, pushed[5 * BLOCK : 10 * BLOCK])
        walk.hear_until(subscriber, lambda m: isinstance(m, StatusMessage) and "recorder: " in m.degraded)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        walk.hear_until(subscriber, lambda m: isinstance(m, StatusMessage) and not m.degraded)
        push(producer, pushed[10 * BLOCK : 20 * BLOCK])
        walk.hear_until(subscriber, stands_at("room", 20 * BLOCK))
        daemon.stop()
    code, said, _ = run_otolith("replay", tapes, "--verify")
    assert code == 0
    assert "behind a hole of" in said
