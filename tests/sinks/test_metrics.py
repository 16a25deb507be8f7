"""Metrics: a real scrape of a real daemon, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from otolith.errors import SettingsError
from otolith.settings import address_of
from otolith.sinks.tally import MOST_STREAMS, Tally
from otolith.wire.messages import DetectionMessage, GapMessage, PosteriorsMessage, StatusMessage
from tests.conftest import ROOT, SOUND
from tests.processes import DaemonProcess

NAMES = ("room-0", "room-1", "room-2", "room-3")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as page:  # noqa: S310 - our own daemon's
        text: str = page.read().decode()
    return text


def samples_of(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_scrape_tells_of_all_streams(workers: int, tmp_path: Path, endpoint: str) -> None:
    words = ROOT / "exported_models" / "words.onnx"
    config = tmp_path / "otolith.toml"
    config.write_text(
        f'publish = "{endpoint}"\nworkers = {workers}\ncontrol = false\n[metrics]\nbind = "127.0.0.1:0"\n'
        + "".join(f'[[stream]]\nname = "{n}"\nmodel = "{words}"\nsource = "recording:{SOUND}"\n' for n in NAMES)
    )
    with DaemonProcess(str(config)) as daemon:
        text = until_told(url_of(daemon), daemon)
        daemon.stop()
    found = samples_of(text)
    for name in NAMES:
        assert found["otolith_stream_listening", frozenset({("stream", name)})] == 1
    models = [dict(labels) for name, labels in found if name == "otolith_model_info"]
    assert {(model["stream"], model["name"], len(model["digest"])) for model in models} == {
        (name, "words", 12) for name in NAMES
    }
    assert found["otolith_streams", frozenset()] == 4
    assert found["otolith_resident_memory_bytes", frozenset()] > 30e6 * workers
    timed = frozenset({("kind", "posteriors")})
    assert 0 < found["otolith_publication_latency_seconds_count", timed] < found["otolith_frames_total", frozenset()]
    if promtool := shutil.which("promtool"):
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


def url_of(daemon: DaemonProcess) -> str:
    """Where the daemon says its metrics are."""
    said = daemon.process.stderr
    assert said is not None
    return next(line.split()[-1].decode() for line in said if b"metrics on http" in line)


def until_told(url: str, daemon: DaemonProcess) -> str:
    """The page, once a detection stands there: the recording has words from its third second on."""
    deadline_s = time.monotonic() + 40
    text = ""
    while "otolith_detections_total{" not in text or text.count("otolith_stream_listening{") < len(NAMES):
        assert time.monotonic() < deadline_s, text
        assert daemon.process.poll() is None, daemon.wait()
        time.sleep(0.2)
        try:
            text = scrape(url)
        except OSError:
            continue
    return text


@pytest.mark.parametrize("bind", ["0.0.0.0:9753", "192.168.1.5:9753", "[::]:9753", "example.org:80"])
def test_only_loopback_is_served_and_the_reason_is_told(bind: str) -> None:
    with pytest.raises(SettingsError, match="only loopback is served, since Prometheus speaks plain HTTP"):
        address_of(bind)


def test_loopback_of_both_kinds_is_served() -> None:
    assert address_of("127.0.0.1:9753") == ("127.0.0.1", 9753)
    assert address_of("[::1]:0") == ("::1", 0)


def head(stream: str, time_ns: int = 0) -> dict[str, object]:
    return {"boot": "b", "seq": 0, "stream": stream, "model": "m@1", "time_ns": time_ns, "position": 0}


def test_gaps_are_counted_by_reason_and_detections_by_label() -> None:
    tally = Tally()
    for lost in (10, 20):
        tally.take(GapMessage(**head("a"), lost=lost, reason="unplugged"))  # type: ignore[arg-type]
    for phase in ("start", "end"):
        told = {"id": 1, "label": "yes", "phase": phase, "confidence": 1.0, "onset_ns": 0, "latency_ms": 1.0}
        tally.take(DetectionMessage(**head("a"), **told))  # type: ignore[arg-type]
    counts = tally.report(["a"]).streams["a"]
    assert (counts.gaps["unplugged"].times, counts.gaps["unplugged"].samples) == (2, 30)
    assert counts.detections == {"yes": 1}
    assert not tally.report([]).streams, "a stream that is gone has no counts"


def test_posteriors_are_timed_once_a_second_a_stream() -> None:
    now_ns = 10**18
    tally = Tally(lambda: now_ns)
    status = {"frames": 1, "gaps": 0, "lost": 0, "drops": 0, "real_time_factor": 0.1, "uptime_s": 1, "level_dbfs": None}
    for _ in range(2):
        tally.take(StatusMessage(**head("a"), **status))  # type: ignore[arg-type]
        for _ in range(10):
            told = head("a", now_ns - 30_000_000)
            tally.take(PosteriorsMessage(**told, labels=["yes"], frames=1, values=b""))  # type: ignore[arg-type]
    latency = tally.report(["a"]).latency["posteriors"]
    assert latency.counts == [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]
    assert latency.sum_s == pytest.approx(0.06)


def test_names_from_the_network_are_bounded() -> None:
    tally = Tally()
    for number in range(MOST_STREAMS + 50):
        tally.take(GapMessage(**head(f"s{number}"), lost=1, reason="missing"))  # type: ignore[arg-type]
    for number in range(100):
        tally.take(GapMessage(**head("s1000"), lost=1, reason=f"reason {number}"))  # type: ignore[arg-type]
    counts = tally.report([f"s{number}" for number in range(2000)]).streams
    assert len(counts) == MOST_STREAMS
    assert len(counts["s1000"].gaps) == 33
    assert sum(each.times for each in counts["s1000"].gaps.values()) == 101
