"""A device that goes away and comes back: it is opened again and again, and what passed meanwhile is declared lost.

How much that was is told by a clock that nobody sets: a device that is not there counts no samples.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from threading import Event

import numpy as np
from msgspec.structs import replace

from otolith.errors import DeviceHangsError, SourceError
from otolith.sources.source import Block, Source

FIRST_WAIT_S = 0.25  # before a device is tried again; twice as long each time ...
LONGEST_WAIT_S = 2.0  # ... up to this: one that is back is heard within five seconds

log = logging.getLogger(__name__)


class Returning:
    """A live source that is opened anew, by the name it had, whenever it fails.

    `open_device` opens it, and raises `SourceError` where that cannot be done. With `waits` it may be missing at first;
    `rate` holds until it can be asked. While it fails, each try tells what was missed by a block without samples.
    Raises `SourceError` where it is missing and `waits` is not set, and what no new try will mend: `DeviceHangsError`.
    """

    live = True

    def __init__(self, open_device: Callable[[], Source], rate: float, *, waits: bool) -> None:
        self._open_device = open_device
        self._source: Source | None = None
        self.rate = rate
        self._heard_s = time.monotonic()  # until when everything is accounted for
        try:
            self._open()
        except SourceError as error:
            if not waits:
                raise
            log.warning("%s; it is waited for", error, extra={"event": "missing", "reason": str(error)})

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`; never ends by itself."""
        self._heard_s, wait_s = time.monotonic(), FIRST_WAIT_S
        reason = ""
        while not stop.is_set():
            try:
                for block in self._open().blocks(stop):
                    if len(block.samples):
                        yield self._counted(block, reason)
                        reason, wait_s = "", FIRST_WAIT_S
                    else:
                        reason = block.reason
                        yield self._absence(reason)
            except DeviceHangsError:
                raise
            except SourceError as error:
                if str(error) != reason:
                    log.warning("%s; it is tried again", error, extra={"event": "lost", "reason": str(error)})
                reason = str(error)
            else:
                reason = "the device ended"
            self._source = None
            if not stop.is_set():
                yield self._absence(reason)
                stop.wait(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _open(self) -> Source:
        if self._source is None:
            self._source = source = self._open_device()
            self.rate = source.rate
        return self._source

    def _counted(self, block: Block, reason: str) -> Block:
        """The block, with what passed before it where the device has just come back."""
        if not reason:
            self._heard_s = time.monotonic()
            return block
        log.info("it is back: %g Hz", self.rate, extra={"event": "back"})
        lost = max(0, self._passed() - len(block.samples))
        return replace(block, lost=block.lost + lost, reason=reason, rate=self.rate)

    def _absence(self, reason: str) -> Block:
        return Block(np.empty(0, np.int16), time.time_ns(), self._passed(), reason, self.rate)

    def _passed(self) -> int:
        """Samples that went by since all was accounted for; they are, from here on."""
        now_s = time.monotonic()
        passed, self._heard_s = round((now_s - self._heard_s) * self.rate), now_s
        return passed
