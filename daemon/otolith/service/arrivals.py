"""Arrivals: streams from the network take their places in the loop, leave their blocks there, and go."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Event

from otolith.service.inbox import Shelf
from otolith.service.listener import Listener
from otolith.service.loop import Loop
from otolith.sources.network.ingest import Ingest
from otolith.sources.network.roster import Arrival, Ended, Opened, Received
from otolith.sources.source import Block

WAIT_S = 0.2
MANY = 8  # streams: with more, blocks trickle in, and each wake-up costs as much as several of them
GATHER_S = 0.004
TOLD_EVERY_S = 10.0  # what was refused; the first time at once
REFUSED = {"event": "refused"}

log = logging.getLogger(__name__)


class Arrivals:
    """Work for a thread beside the loop: `run` is what `Loop.attend` takes. `make` is called in the loop's thread."""

    def __init__(self, ingest: Ingest, loop: Loop, make: Callable[[Opened], Listener]) -> None:
        self._ingest, self._loop, self._make = ingest, loop, make
        self._shelves: dict[str, Shelf] = {}
        self._faults_told: Counter[str] = Counter()
        self._told_s = float("-inf")

    def run(self, stop: Event) -> None:
        """Hand on what arrives until `stop`; the endpoints are closed behind it."""
        try:
            while not stop.is_set():
                self._ingest.wait(WAIT_S)
                self._hand_on(self._ingest.receive())
                self._tell_faults(time.monotonic())
                if len(self._ingest) > MANY:
                    time.sleep(GATHER_S)
            self._hand_on(self._ingest.receive())  # what had come by then is heard
        finally:
            self._ingest.close()

    def _hand_on(self, arrivals: list[Arrival]) -> None:
        """Blocks go to the loop all at once, but for streams that come or go between them."""
        received: list[tuple[Shelf, list[Block]]] = []
        for arrival in arrivals:
            if isinstance(arrival, Received):
                received.append((self._shelves[arrival.stream], arrival.blocks))
                continue
            self._loop.put_live(received)
            received = []
            self._come_or_go(arrival)
        self._loop.put_live(received)

    def _come_or_go(self, arrival: Opened | Ended) -> None:
        if isinstance(arrival, Opened):
            extra = {"stream": arrival.stream, "event": "opened"}
            log.info("stream %s: opened, %s at %g Hz", arrival.stream, arrival.kind, arrival.rate, extra=extra)
            make = partial(self._make, arrival)
            self._shelves[arrival.stream] = self._loop.add(arrival.stream, make, arrival.rate, live=True)
        else:
            extra = {"stream": arrival.stream, "event": "ended", "reason": arrival.reason}
            log.info("stream %s: %s", arrival.stream, arrival.reason, extra=extra)
            self._loop.remove(self._shelves.pop(arrival.stream))

    def _tell_faults(self, now_s: float) -> None:
        """Log what was refused or mended since the last time."""
        if self._ingest.faults == self._faults_told or now_s - self._told_s < TOLD_EVERY_S:
            return
        new = self._ingest.faults - self._faults_told
        log.warning(
            "ingest: %s", ", ".join(f"{count} {reason}" for reason, count in sorted(new.items())), extra=REFUSED
        )
        self._faults_told, self._told_s = Counter(self._ingest.faults), now_s
