"""Metrics: how a daemon is, as a page for Prometheus.

The page is made when it is asked for, of what `otolith status` would say then: nothing is done for it a frame. It may
be read on this machine alone, since Prometheus speaks plain HTTP.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from otolith.errors import OtolithError, WireError
from otolith.settings import address_of
from otolith.wire.control import DaemonStatus
from otolith.wire.messages import LISTENING, StatusMessage
from otolith.wire.tallies import LATENCY_S, Latency, Tallied

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

MOST_STREAMS = 1000  # with series of their own; all are in the sums
PATIENCE_S = 5.0  # with somebody who has connected and asks nothing


class Page:
    """Serves the metrics of `status` at `bind`. Raises `OtolithError` where it cannot."""

    def __init__(self, bind: str, status: Callable[[], DaemonStatus]) -> None:
        try:
            from prometheus_client import CollectorRegistry, make_wsgi_app
        except ModuleNotFoundError:
            raise OtolithError(f"metrics {bind}: need prometheus-client; pip install 'otolith[metrics]'") from None
        registry = CollectorRegistry()
        registry.register(Collector(status))
        host, port = address_of(bind)
        server = ServerV6 if ":" in host else WSGIServer
        try:
            self._server = make_server(host, port, make_wsgi_app(registry), server, Handler)
        except OSError as error:
            raise WireError(f"metrics {bind}: cannot be bound ({error.strerror}); choose another port") from None
        self.url = f"http://{bind.rpartition(':')[0]}:{self._server.server_port}/metrics"
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Serve nobody any more."""
        self._server.shutdown()
        self._server.server_close()


class Handler(WSGIRequestHandler):
    """One request at a time, in one thread; who asks is not logged."""

    timeout = PATIENCE_S

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class ServerV6(WSGIServer):
    """The same, for [::1]."""

    address_family = socket.AF_INET6


class Collector:
    """What prometheus-client asks for families of metrics."""

    def __init__(self, status: Callable[[], DaemonStatus]) -> None:
        self._status = status

    def describe(self) -> list[Metric]:
        """Nothing: else it would ask for all when it is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families, of now."""
        told = self._status()
        yield from _of_daemon(told)
        yield from _of_streams(told.streams[:MOST_STREAMS])
        if told.tallied is not None:
            names = {stream.stream for stream in told.streams[:MOST_STREAMS]}
            yield from _of_tallies(told.tallied, names)
            yield _latencies(told.tallied.latency)


def _of_daemon(told: DaemonStatus) -> Iterator[Metric]:
    yield _family("info", "otolith", "The daemon's release.", ["version"], {(told.version,): 1})
    yield _family("gauge", "otolith_uptime_seconds", "Since the daemon started.", [], {(): told.up_s})
    yield _family("gauge", "otolith_streams", "Streams that are listened to.", [], {(): len(told.streams)})
    what = "Processing time over the time of what was processed, in the last second."
    yield _family("gauge", "otolith_real_time_factor", what, [], {(): told.real_time_factor})
    what = "Memory in use, of all the daemon's processes."
    yield _family("gauge", "otolith_resident_memory_bytes", what, [], {(): told.memory_bytes})
    yield _family("counter", "otolith_frames", "Frames stepped, of all streams.", [], {(): told.frames})
    yield _family("counter", "otolith_gaps", "Gaps, of all streams.", [], {(): told.gaps})
    yield _family("counter", "otolith_lost_samples", "Samples in gaps, of all streams.", [], {(): told.lost})
    what = "Blocks thrown away since the daemon was late, of all streams."
    yield _family("counter", "otolith_dropped_blocks", what, [], {(): told.drops})
    what = "1 for each part of the daemon that does not do its work while predictions go on."
    ill = {(part.partition(":")[0],): 1 for part in told.degraded.split("; ") if part}
    yield _family("gauge", "otolith_degraded", what, ["part"], ill)
    what = "What the network brought and was not taken."
    yield _family("counter", "otolith_refused", what, ["reason"], {(why,): n for why, n in told.refused.items()})


def _of_streams(streams: list[StatusMessage]) -> Iterator[Metric]:
    def of(what: Callable[[StatusMessage], float | None]) -> dict[tuple[str, ...], float]:
        return {(each.stream,): value for each in streams if (value := what(each)) is not None}

    what = "1 where the stream is heard, 0 where its device is away."
    yield _family("gauge", "otolith_stream_listening", what, ["stream"], of(lambda s: s.state == LISTENING))
    models = {(each.stream, *each.model.rpartition("@")[::2]): 1.0 for each in streams}
    yield _family(
        "info", "otolith_model", "The model that listens to the stream.", ["stream", "name", "digest"], models
    )
    yield _family("counter", "otolith_stream_frames", "Frames stepped.", ["stream"], of(lambda s: s.frames))
    what = "Blocks thrown away since the daemon was late."
    yield _family("counter", "otolith_stream_dropped_blocks", what, ["stream"], of(lambda s: s.drops))
    what = "The loudest sample of the last second, relative to full scale."
    yield _family("gauge", "otolith_stream_level_dbfs", what, ["stream"], of(lambda s: s.level_dbfs))
    what = "Samples or rows of the source a second, over the last ten."
    yield _family("gauge", "otolith_stream_rate_hertz", what, ["stream"], of(lambda s: s.rate))
    what = "Seconds in which full scale was touched."
    yield _family("counter", "otolith_stream_clipped_seconds", what, ["stream"], of(lambda s: s.clipped_s))
    what = "Seconds since a sample last differed from the one before."
    yield _family("gauge", "otolith_stream_flat_seconds", what, ["stream"], of(lambda s: s.flat_s))


def _of_tallies(tallied: Tallied, names: set[str]) -> Iterator[Metric]:
    gaps = {
        (name, reason): counted
        for name, tally in tallied.streams.items()
        if name in names
        for reason, counted in tally.gaps.items()
    }
    labels = ["stream", "reason"]
    times = {key: float(counted.times) for key, counted in gaps.items()}
    yield _family("counter", "otolith_stream_gaps", "Gaps, by why.", labels, times)
    samples = {key: float(counted.samples) for key, counted in gaps.items()}
    yield _family("counter", "otolith_stream_lost_samples", "Samples in gaps, by why.", labels, samples)
    detections = {
        (name, label): float(count)
        for name, tally in tallied.streams.items()
        if name in names
        for label, count in tally.detections.items()
    }
    yield _family("counter", "otolith_detections", "Detections begun.", ["stream", "label"], detections)


def _latencies(latency: dict[str, Latency]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    what = "From the capture of a message's last sample to its publication; posteriors once a second a stream."
    family = HistogramMetricFamily("otolith_publication_latency_seconds", what, labels=["kind"])
    for kind, of in latency.items():
        bounds = [*(f"{bound:g}" for bound in LATENCY_S), "+Inf"]
        sums = [float(sum(of.counts[: number + 1])) for number in range(len(of.counts))]
        family.add_metric([kind], list(zip(bounds, sums, strict=True)), of.sum_s)
    return family


def _family(kind: str, name: str, what: str, labels: list[str], values: Mapping[Any, float]) -> Metric:
    """One family with a value for each combination of labels."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    if kind == "info":
        info = InfoMetricFamily(name, what)
        for key in values:
            info.add_metric([], dict(zip(labels, key, strict=True)))
        return info
    family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, what, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), float(value))
    return family
