"""Returns: whether a stream that appears here goes on from somewhere, and what is missing before its first block then.

It may have been here before, in a worker that died, or in a run of the daemon before this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from otolith.wire.block import Header, RefusedError
from otolith.wire.line import Standing

LOST = "lost on the way"
DIED = "the worker died"
RESTARTED = "the daemon was restarted"
GONE_KEPT = 10_000  # streams that ended: one that comes back tells what was lost meanwhile

OVER = Standing("", 0)  # of a stream that said goodbye, and that nothing goes on from


class Remembered(Protocol):
    """What an earlier run of the daemon knew of streams."""

    def standing(self, stream: str) -> Standing | None:
        """How far it had come with one, where that was kept."""

    def may_lack(self, age_s: float, now_s: float) -> bool:
        """May it have heard a stream that is of that age now, and not have kept it yet?"""


class NothingKept:
    """Of a daemon that keeps no state."""

    def standing(self, _stream: str) -> Standing | None:
        """Nobody knows."""
        return None

    def may_lack(self, _age_s: float, _now_s: float) -> bool:
        """Of what it heard, nothing is told again."""
        return False


NOTHING_KEPT = NothingKept()


@dataclass(frozen=True, slots=True)
class Return:
    """A stream goes on from `seq`; what is missing from there on is lost for `reason`. Is it a new one to us?"""

    seq: int
    reason: str
    is_new: bool = False


class Returns:
    """Knows how far streams had come that are not here: some itself, those of an earlier run of the daemon by `kept`.

    A step over more than `ahead_s` is no loss.
    """

    def __init__(self, ahead_s: float, kept: Remembered = NOTHING_KEPT) -> None:
        self._ahead_s, self._kept = ahead_s, kept
        self._gone: dict[str, tuple[Standing, float]] = {}  # streams that ended here, and when they were last heard

    def leave(self, stream: str, standing: Standing, heard_s: float) -> None:
        """A stream has ended, and may come back; one that said goodbye is `OVER`."""
        self._gone[stream] = standing, heard_s
        if len(self._gone) > GONE_KEPT:
            del self._gone[next(iter(self._gone))]

    def gone(self, now_s: float) -> dict[str, Standing]:
        """Who is no longer here and may come back with a loss that counts. From any thread."""
        since_s = now_s - self._ahead_s
        gone = self._gone.copy()  # one step, whoever comes or goes meanwhile
        return {stream: at for stream, (at, heard_s) in gone.items() if heard_s > since_s and at is not OVER}

    def come(self, stream: str) -> None:
        """A stream is here, whether it has come back or not."""
        self._gone.pop(stream, None)

    def find(self, stream: str, header: Header, now_s: float, wrap: int, died: Standing | None = None) -> Return | None:
        """Where a stream goes on from whose first block this is, if it does. Raises `RefusedError` on one before that.

        `died` is how far it had come in a worker that died; where that had told nothing yet, what the run before this
        one knew goes before. A stream so young that the run before may have heard it,
        and had not kept it yet when it was killed, goes on from its very beginning.
        """
        gone, _ = self._gone.get(stream, (None, 0.0))
        if (standing := died or gone) and not standing.is_first:
            return Return(standing.seq, DIED if died else LOST) if self._goes_on(standing, header, wrap) else None
        if (kept := self._kept.standing(stream)) and self._goes_on(kept, header, wrap):
            return Return(kept.seq, RESTARTED)
        came_at = died.seq if died else header.seq
        is_young = came_at > 0 and self._goes_on(Standing(header.boot, 0), header, wrap)
        if is_young and self._kept.may_lack(header.seq / header.rate, now_s):
            return Return(0, RESTARTED, is_new=True)
        return Return(died.seq, DIED) if died and self._goes_on(died, header, wrap) else None

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
