"""A device that goes away and comes back: it is opened again and again, and what passed meanwhile is declared lost.

How much that was is told by a clock that nobody sets: a device that is not there counts no samples. Where nothing can
pass by (a pipe without a writer), or the rows' own times tell, what is away is said and nothing counted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from threading import Event

import numpy as np
from msgspec.structs import replace

from otolith.errors import DeviceHangsError, SourceError
from otolith.inference.framing import Samples
from otolith.sources.source import Block, Source

FIRST_WAIT_S = 0.25  # before a device is tried again; twice as long each time ...
LONGEST_WAIT_S = 2.0  # ... up to this: one that is back is heard within five seconds

NO_SAMPLES = np.empty(0, np.int16)

log = logging.getLogger(__name__)


def always() -> bool:
    """What passes by is lost."""
    return True


class Returning:
    """A source that is opened anew, by the name it had, whenever it fails.

    `open_device` opens it, and raises `SourceError` where that cannot be done. With `waits` it may be missing at first;
    `rate` holds until it can be asked. While it fails, each try tells what was missed by a block without samples
    (`nothing`), as long as `counts` says that what passes is lost. One that `takes_time` to be opened (a network) and
    is waited for is opened when its blocks are asked for, and holds up nobody before. One that `tells` says itself what
    it missed while it stays open, be it silent for a while.
    Raises `SourceError` where it is missing and `waits` is not set, and what no new try will mend: `DeviceHangsError`.
    """

    def __init__(
        self,
        open_device: Callable[[], Source],
        rate: float,
        *,
        waits: bool,
        takes_time: bool = False,
        live: bool = True,
        counts: Callable[[], bool] = always,
        nothing: Samples = NO_SAMPLES,
        tells: bool = False,
    ) -> None:
        self.live = live
        self._open_device, self._counts, self._nothing, self._tells = open_device, counts, nothing, tells
        self._source: Source | None = None
        self.rate = rate
        self._heard_s = time.monotonic()  # until when everything is accounted for
        if waits and takes_time:
            return
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
            is_new = True
            try:
                for block in self._open().blocks(stop):
                    if len(block.samples) or block.lost:
                        yield self._counted(block, reason, is_new)
                        reason, wait_s, is_new = "", FIRST_WAIT_S, False
                    else:  # a silence: what passes in it is told once it is over, or given up
                        if block.reason != reason:
                            told = {"event": "stalled", "reason": block.reason}
                            log.warning("%s; it is waited for", block.reason, extra=told)
                        reason = block.reason
                        yield block
            except DeviceHangsError as error:
                yield self._absence(str(error))  # until here; whoever listens next counts from there
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

    def _counted(self, block: Block, reason: str, is_new: bool) -> Block:
        """The block, with what passed before it where the device has just come back."""
        if not reason:
            self._heard_s = time.monotonic()
            return block
        log.info("it is back (%s): %g Hz", reason, self.rate, extra={"event": "back"})
        passed = self._passed()
        if block.stamps_s is not None or (self._tells and not is_new):  # it tells better
            passed = 0
        lost = max(0, passed - len(block.samples) - block.lost)
        return replace(block, lost=block.lost + lost, reason=reason, rate=self.rate)

    def _absence(self, reason: str) -> Block:
        return Block(self._nothing, time.time_ns(), self._passed(), reason, self.rate)

    def _passed(self) -> int:
        """Samples that went by since all was accounted for; they are, from here on."""
        now_s = time.monotonic()
        passed, self._heard_s = round((now_s - self._heard_s) * self.rate), now_s
        return passed if self._counts() else 0
