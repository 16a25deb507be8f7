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
from otolith.sources.network import Ingest
from otolith.sources.roster import Arrival, Ended, Opened, Received

WAIT_S = 0.2
TOLD_EVERY_S = 10.0  # what was refused; the first time at once

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
                for arrival in self._ingest.receive():
                    self._hand_on(arrival)
                self._tell_faults(time.monotonic())
        finally:
            self._ingest.close()

    def _hand_on(self, arrival: Arrival) -> None:
        match arrival:
            case Opened():
                log.info("stream %s: opened, %s at %g Hz", arrival.stream, arrival.kind, arrival.rate)
                make = partial(self._make, arrival)
                self._shelves[arrival.stream] = self._loop.add(arrival.stream, make, arrival.rate, live=True)
            case Received():
                shelf = self._shelves[arrival.stream]
                for block in arrival.blocks:
                    self._loop.put(shelf, block)
            case Ended():
                log.info("stream %s: %s", arrival.stream, arrival.reason)
                self._loop.remove(self._shelves.pop(arrival.stream))

    def _tell_faults(self, now_s: float) -> None:
        """Log what was refused or mended since the last time."""
        if self._ingest.faults == self._faults_told or now_s - self._told_s < TOLD_EVERY_S:
            return
        new = self._ingest.faults - self._faults_told
        log.warning("ingest: %s", ", ".join(f"{count} {reason}" for reason, count in sorted(new.items())))
        self._faults_told, self._told_s = Counter(self._ingest.faults), now_s
