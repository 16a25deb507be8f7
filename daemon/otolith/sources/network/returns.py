"""Returns: whether a stream that appears here goes on from somewhere, and what is missing before its first block then.

It may have been here before, in a worker that died, or in a run of the daemon before this one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from otolith.wire.block import Header, RefusedError
from otolith.wire.line import Standing

LOST = "lost on the way"
DIED = "the worker died"
RESTARTED = "the daemon was restarted"
GONE_KEPT = 10_000  # streams that ended: one that comes back tells what was lost meanwhile

Remembered = Callable[[str], Standing | None]  # how far an earlier run of the daemon had come with a stream


def nothing_kept(_stream: str) -> Standing | None:
    """Of a daemon that keeps no state."""
    return None


@dataclass(frozen=True, slots=True)
class Return:
    """A stream goes on from `seq`; what is missing from there on is lost for `reason`."""

    seq: int
    reason: str


class Returns:
    """Knows how far streams had come that are not here: some itself, those of an earlier run of the daemon by `kept`.

    A step over more than `ahead_s` is no loss.
    """

    def __init__(self, ahead_s: float, kept: Remembered = nothing_kept) -> None:
        self._ahead_s, self._kept = ahead_s, kept
        self._gone: OrderedDict[str, Standing] = OrderedDict()  # of streams that ended without a goodbye

    def leave(self, stream: str, standing: Standing) -> None:
        """A stream has ended without a goodbye: it may come back."""
        self._gone[stream] = standing
        if len(self._gone) > GONE_KEPT:
            self._gone.popitem(last=False)

    def come(self, stream: str) -> None:
        """A stream is here, whether it has come back or not."""
        self._gone.pop(stream, None)

    def find(self, stream: str, header: Header, wrap: int, died: Standing | None = None) -> Return | None:
        """Where a stream goes on from whose first block this is, if it does. Raises `RefusedError` on one before that.

        `died` is how far it had come in a worker that died.
        """
        standing, reason = died, DIED
        if standing is None:
            standing, reason = self._gone.get(stream), LOST
        if standing is None:
            standing, reason = self._kept(stream), RESTARTED
        return Return(standing.seq, reason) if standing and self._goes_on(standing, header, wrap) else None

    def _goes_on(self, standing: Standing, header: Header, wrap: int) -> bool:
        if standing.boot != header.boot:
            return False
        step = apart(header.seq, standing.seq, wrap)
        if step < 0 and not wrap and step >= -self._ahead_s * header.rate:
            raise RefusedError("late", f"came {-step} samples behind what was there before")
        return 0 <= step <= self._ahead_s * header.rate


def apart(seq: int, expected: int, wrap: int) -> int:
    """`seq` less `expected`; the nearer way around where it wraps."""
    step = seq - expected
    return (step + wrap // 2) % wrap - wrap // 2 if wrap else step
