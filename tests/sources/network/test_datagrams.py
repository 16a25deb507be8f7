"""Datagrams through a real socket: what is lost becomes a gap; what comes twice or late is dropped and counted."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from otolith.sources.network import doors
from otolith.sources.network.ingest import Ingest
from otolith.sources.network.roster import Arrival, Opened
from otolith.wire.datagram import MAX_DATAGRAM_BYTES, encode_datagram
from tests.conftest import ROOT
from tests.sources.producing import (
    HEADER,
    SOUND,
    UDP,
    all_ended,
    arrivals_of,
    datagrams_to,
    ingest_on,
    lost_of,
    samples_of,
)

LENGTH = 500

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler: apt-get install gcc")


def datagram(seq: int, length: int = LENGTH, end: bool = False, stream: str = "pump") -> bytes:
    header = msgspec.structs.replace(HEADER, seq=seq, end=end)
    return encode_datagram(stream, header, SOUND[seq % 16000 :][:length])


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    with ingest_on(UDP) as ingest:
        yield ingest


def sent(ingest: Ingest, datagrams: list[bytes], until: Callable[[list[Arrival]], bool]) -> list[Arrival]:
    with datagrams_to(ingest.endpoints[0]) as send:
        for data in datagrams:
            send(data)
        return arrivals_of(ingest, until)


def test_samples_arrive_as_they_were_sent(ingest: Ingest) -> None:
    datagrams = [datagram(seq) for seq in range(0, 16000, LENGTH)] + [datagram(16000, 0, end=True)]
    arrivals = sent(ingest, datagrams, all_ended())
    assert arrivals[0] == Opened("pump", "audio", 16000, 1)
    np.testing.assert_array_equal(samples_of(arrivals, "pump"), SOUND)
    assert not ingest.faults


def test_loss_becomes_a_gap_and_late_and_doubled_datagrams_are_dropped(ingest: Ingest) -> None:
    whole = [datagram(seq) for seq in range(0, 5000, LENGTH)]
    disordered = [whole[0], whole[1], whole[1], whole[4], whole[3], *whole[5:], datagram(5000, 0, end=True)]
    arrivals = sent(ingest, disordered, all_ended())
    expected = SOUND[:5000].copy()
    expected[1000:2000] = 0
    np.testing.assert_array_equal(samples_of(arrivals, "pump"), expected)
    assert lost_of(arrivals) == 1000
    assert ingest.faults == {"late": 2}


def test_a_device_that_counts_past_its_range_goes_on(ingest: Ingest) -> None:
    start = (1 << 32) - 1000
    datagrams = [datagram(start + at) for at in range(0, 3000, LENGTH)] + [datagram(start + 3000, 0, end=True)]
    arrivals = sent(ingest, datagrams, all_ended())
    assert lost_of(arrivals) == 0
    assert len(samples_of(arrivals, "pump")) == 3000


def test_a_device_that_is_switched_off_and_on_begins_a_new_stream(ingest: Ingest) -> None:
    arrivals = sent(ingest, [datagram(160_000), datagram(0), datagram(500, 0, end=True)], all_ended(2))
    assert [type(arrival).__name__ for arrival in arrivals] == ["Opened", "Received", "Ended"] * 2


def test_datagrams_that_are_none_are_counted(ingest: Ingest) -> None:
    rng = np.random.default_rng(0)
    rubbish = [rng.bytes(int(length)) for length in rng.integers(0, 1400, 100)]
    too_long = datagram(0) + bytes(MAX_DATAGRAM_BYTES)
    sent(ingest, [*rubbish, too_long, datagram(0, end=True)], all_ended())
    assert ingest.faults == {"malformed": 100, "oversized": 1}


def test_datagrams_that_the_kernel_dropped_are_counted_and_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "DATAGRAM_BYTES", 1 << 14)
    with ingest_on(UDP) as ingest, datagrams_to(ingest.endpoints[0]) as send:
        for seq in range(0, 100 * LENGTH, LENGTH):
            send(datagram(seq))
        arrivals = arrivals_of(ingest, lambda arrivals: len(arrivals) >= 2)
        send(datagram(100 * LENGTH, 0, end=True))
        arrivals += arrivals_of(ingest, all_ended())
        heard = samples_of(arrivals, "pump")
    assert len(heard) == 100 * LENGTH
    assert lost_of(arrivals) == ingest.faults["kernel"] * LENGTH > 0


def test_a_datagram_from_a_network_that_is_not_allowed_is_dropped(ingest: Ingest) -> None:
    door = ingest._doors[0]
    with pytest.raises(doors.RefusedError) as refused:
        door.decode(b"192.0.2.7|5000", [datagram(0)])
    assert refused.value.reason == "foreign"
    assert door.decode(b"127.0.0.1|5000", [datagram(0)])[0] == "pump"


def test_a_network_may_be_allowed() -> None:
    with ingest_on("udp://0.0.0.0:0", allow=["192.0.2.0/24"]) as ingest:
        assert ingest._doors[0].decode(b"192.0.2.7|5000", [datagram(0)])[0] == "pump"
    with pytest.raises(doors.SettingsError, match="allow"):
        ingest_on("udp://0.0.0.0:0", allow=["everyone"])


@needs_cc
def test_the_documented_c_is_heard(ingest: Ingest, tmp_path: Path) -> None:
    """The program of docs/ingest.md as it stands there: compiled without a warning, run, and heard to the sample."""
    (program,) = re.findall(r"```c\n(.*?)```", (ROOT / "docs" / "ingest.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "send.c").write_text(program)
    compiler = ["cc", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "send", tmp_path / "send.c", "-lm"]
    subprocess.run(compiler, check=True)
    host, _, port = ingest.endpoints[0].removeprefix("udp://").rpartition(":")
    with subprocess.Popen([tmp_path / "send", host, port]) as device:
        arrivals = arrivals_of(ingest, all_ended())
        assert device.wait(5) == 0
    assert arrivals[0] == Opened("pump", "audio", 16000, 1)
    tone = np.round(8000 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000))
    np.testing.assert_allclose(samples_of(arrivals, "pump"), tone, atol=1)
    assert lost_of(arrivals) == 0
