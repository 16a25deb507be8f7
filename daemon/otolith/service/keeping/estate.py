"""The estate: what the run before left of its streams, and since when it may have heard others that nobody kept.

It is given out once a stream, and what nobody asks for within a minute is over.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path

from otolith.service.keeping.checkpoint import Checkpoint, CheckpointError, Group, alone, decode, spread
from otolith.service.keeping.resumption import Kept
from otolith.wire.line import Standing

SUFFIX = ".state"
MOST_BYTES = 1 << 30
OLD_S = 86_400.0  # a file that nobody wrote for so long is of a worker that is no more
KEPT_S = 60.0  # of streams that have not come back: by then nobody goes on with them
SLACK_S = 3.0  # a stream's first samples are older than that by what its producer holds and what waits for the loop

log = logging.getLogger(__name__)


Gone = dict[str, tuple[str, int]]  # by stream: its producer's run, and how far that had come


class Estate:
    """What was `kept`, who was `gone`, and `since_ns` (UTC): what began later may have been heard, and is not in it.

    Where nobody heard anything before, that is 0.
    """

    def __init__(self, kept: Mapping[str, Kept] | None = None, since_ns: int = 0, gone: Gone | None = None) -> None:
        now_s = time.monotonic()
        age_s = max(0.0, (time.time_ns() - since_ns) / 1e9) if since_ns else -math.inf
        self._kept, self._gone, self._since_ns = dict(kept or {}), dict(gone or {}), since_ns
        self._since_s, self._until_s = now_s - age_s, now_s + KEPT_S

    @property
    def is_known(self) -> bool:
        """Is anything known of a run before this one?"""
        return bool(self._kept or self._since_ns)

    def ask(self, stream: str) -> Kept | None:
        """What the run before knew of a stream; it is told once."""
        self._gone.pop(stream, None)
        return self._kept.pop(stream, None)

    def peek(self, stream: str) -> Kept | None:
        """As `ask`, and it stays. From any thread."""
        return self._kept.get(stream)

    def standing(self, stream: str) -> Standing | None:
        """How far the run before had come with a stream from the network. From any thread."""
        kept = self._kept.get(stream)
        if kept is not None and kept.ear.boot:
            return Standing(kept.ear.boot, kept.ear.seq)
        gone = self._gone.get(stream)
        return None if gone is None else Standing(*gone)

    def may_lack(self, age_s: float, now_s: float) -> bool:
        """May a stream of that age have been heard, though it is not kept: is it younger than what is?

        Only within a minute of the start: what comes later for the first time does not come back. From any thread.
        """
        return now_s < self._until_s and age_s <= now_s - self._since_s + SLACK_S

    def since_ns(self, now_s: float) -> int:
        """As given, for the run after this one: it may come back there; 0 once all that comes back is here."""
        return self._since_ns if now_s < self._until_s else 0

    def absent(self, now_s: float) -> tuple[list[Group], Gone]:
        """The streams that have not come back yet: they may still, in the run after the next crash."""
        if now_s > self._until_s:
            self._kept.clear()
            self._gone.clear()
        return [alone(stream, kept) for stream, kept in self._kept.items()], self._gone


def read_estate(folder: Path) -> Estate:
    """All that is kept, by stream, whichever worker wrote it: the newest where it is kept twice.

    What the worker that wrote last did not keep, another may have; so the oldest moment counts that any of them tells
    of, a minute back at most. Of a run that ended longer ago nobody knows what it heard at last.
    """
    kept: dict[str, Kept] = {}
    gone: Gone = {}
    now_ns, since_ns = time.time_ns(), 0
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        written_ns = now_ns
        try:
            written_ns = path.stat().st_mtime_ns
            if now_ns - written_ns > OLD_S * 1e9:
                path.unlink()
                continue
            checkpoint = read_state(path)
            found, taken_ns = spread(checkpoint), checkpoint.since_ns or written_ns
        except (CheckpointError, OSError) as error:
            log.warning("state %s: %s; its streams start afresh", path, error)
            checkpoint, found, taken_ns = Checkpoint([]), {}, written_ns
        for stream, each in found.items():
            if stream not in kept or kept[stream].ear.told_ns < each.ear.told_ns:
                kept[stream] = each
        if now_ns - written_ns <= KEPT_S * 1e9:
            since_ns = min(since_ns or now_ns, taken_ns)
            gone |= checkpoint.gone
    return Estate(kept, since_ns and max(since_ns, now_ns - round(KEPT_S * 1e9)), gone)


def read_state(path: Path) -> Checkpoint:
    """A file's checkpoint. Raises `CheckpointError`, or `OSError`."""
    if not path.is_file() or path.is_symlink() or path.stat().st_size > MOST_BYTES:
        raise CheckpointError("is no file of ours")
    return decode(path.read_bytes())
