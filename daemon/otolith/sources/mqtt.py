"""A topic of an MQTT broker as a source: each message holds rows of a sensor, as CSV or JSON.

Subscribed with QoS 1 (a broker that must drop, drops messages of QoS 0 first) and a clean session: what a broker keeps
for an absent daemon comes late, all at once, and beyond some number not at all, with no word; so what passes by while
the daemon is away is declared lost instead. Retained messages are left out: they are of some earlier time.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np

from otolith.errors import UsageError
from otolith.sources.login import read_login
from otolith.sources.reading.contents import RowContents, row_reader
from otolith.sources.reading.reads import Patience
from otolith.sources.reading.rows import RowReader, read_payload
from otolith.sources.reading.timed import Timed
from otolith.sources.reading.timeline import Timeline
from otolith.sources.returning import Returning
from otolith.sources.source import Block, Source, Spec, Wanted

if TYPE_CHECKING:
    from otolith.sources.broker import Address, Subscription

PORT, TLS_PORT = 1883, 8883
MISSING = "needs paho-mqtt; pip install 'otolith[mqtt]'"

log = logging.getLogger(__name__)


def open_mqtt(spec: Spec, wanted: Wanted, *, waits: bool = False) -> Source:
    """`mqtt://HOST[:PORT]/TOPIC[?login=FILE&columns=A,B]`, or `mqtts://` (and `&ca=FILE`) for TLS; the broker may be
    away at first with `waits`. Raises `UsageError`, also where paho-mqtt is not installed, and `SettingsError` of a
    login.
    """
    address, reader = plan_mqtt(spec, wanted)
    from otolith.sources.broker import Subscription

    login = read_login(spec.options["login"]) if "login" in spec.options else None
    if login is not None and not address.is_tls and not _is_here(address.host):
        log.warning("%s: the password goes over the network for all to read; use mqtts://", address)
    timeline = Timeline(wanted.sample_rate)
    nothing = np.empty((0, len(reader.channels)), np.float32)
    topic = Returning(
        lambda: Topic(Subscription(address, login), reader, wanted.sample_rate, str(address)),
        wanted.sample_rate,
        waits=waits,
        takes_time=True,
        counts=lambda: timeline.last_s is None,
        nothing=nothing,
    )
    return Timed(topic, timeline, str(address))


def plan_mqtt(spec: Spec, wanted: Wanted) -> tuple[Address, RowReader]:
    """Where messages come from, and how rows are read. Raises `UsageError`."""
    try:
        from otolith.sources.broker import Address
    except ImportError:
        raise UsageError(f"source {spec.text!r}: {MISSING}") from None
    if wanted.kind != "sensor":
        raise UsageError(f"source {spec.text!r}: the model takes {wanted.kind}, and messages hold rows of a sensor")
    is_tls = spec.scheme == "mqtts"
    spec.allow("login", "columns", *(["ca"] if is_tls else []))
    try:
        parts = urlsplit(f"//{spec.target.removeprefix('//')}", allow_fragments=False)
        host, port, topic = parts.hostname, parts.port, unquote(parts.path[1:])
    except ValueError:
        host, port, topic = None, None, ""
    if not spec.target.startswith("//") or not host or not topic:
        raise UsageError(f"source {spec.text!r}: is no broker with a topic; write mqtt://HOST:PORT/TOPIC")
    if set(topic) & {"+", "#", "\0"}:
        raise UsageError(f"source {spec.text!r}: several topics are several sensors; name one, without + and #")
    authority = spec.options.get("ca", "")
    if authority and not Path(authority).is_file():
        raise UsageError(f"source {spec.text!r}: there is no file {authority}; ca= names trusted certificates (PEM)")
    address = Address(host, port or (TLS_PORT if is_tls else PORT), topic, is_tls, authority)
    return address, row_reader(spec, wanted)


class Topic:
    """One subscription, read until it is lost."""

    live = True

    def __init__(self, subscription: Subscription, reader: RowReader, rate: float, name: str) -> None:
        self.rate = rate
        self._subscription, self._reader, self._name = subscription, reader, name
        self._contents = RowContents(reader)
        self._patience = Patience(rate)

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`. Raises `SourceError` once the connection is lost."""
        for payload in self._subscription.messages(stop):
            now_s = time.monotonic()
            if payload is not None:
                self._patience.heard(now_s)
                yield from self._contents.blocks_of(read_payload(self._reader, payload))
            elif self._patience.is_over(now_s):
                yield Block(self._contents.nothing, time.time_ns(), 0, f"{self._name}: stalled")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
