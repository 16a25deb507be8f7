"""Losses: those that follow one another are told together.

A sensor that sends nothing but what cannot be read shall fill neither the wire nor the log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from msgspec.structs import replace

from otolith.sources.reading.rows import MALFORMED
from otolith.sources.source import Block

TOLD_EACH_S = 0.5

log = logging.getLogger(__name__)


class Losses:
    """Passes blocks on; of those that only tell of a loss, the first at once and the others twice a second."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._held: Block | None = None
        self._told, self._told_s = "", 0.0  # why rows were lost that were told of last, and when

    def push(self, block: Block, now_s: float) -> Iterator[Block]:
        """The blocks to pass on now."""
        held, self._held = self._held, None
        if held is not None and (len(block.samples) or block.reason == held.reason):
            block = replace(block, lost=block.lost + held.lost, reason=block.reason or held.reason)
        elif held is not None:
            yield held
        is_loss = not len(block.samples) and block.lost > 0
        if is_loss and block.reason == self._told and now_s - self._told_s < TOLD_EACH_S:
            self._held = block
            return
        if is_loss and block.reason != self._told and block.reason.startswith(MALFORMED):  # others are logged already
            log.warning("%s: %s", self._name, block.reason, extra={"event": "lost", "reason": block.reason})
        if is_loss:
            self._told, self._told_s = block.reason, now_s
        yield block

    def end(self) -> Iterator[Block]:
        """What is held, behind the last block."""
        if self._held is not None:
            yield self._held
