"""The bouncer: where memory grows by what visitors begin and never end, those who do so are hung up on.

libzmq bounds each part of a message, and not how many there are: one that never ends is kept whole, and seen by
nobody until its sender goes. So we look at the process' memory, and when it has grown beyond what the daemon itself
can account for, at who brought what was never delivered.
"""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Self

from otolith.service.host.memory import resident_bytes
from otolith.wire.visitors import Visitor, Visitors

LOOK_S = 0.05  # a peer on this machine sends up to 100 MB in it; looking costs 0.3 % of a core
SELDOM_S = 0.25  # where there is a publisher alone: what its visitors send has parts of a kilobyte
WEIGH_S = 1.0
MEGABYTE = 1 << 20
BOUND_BYTES = 64 * MEGABYTE  # of growth, before we ask whose it is
LAST_BYTES = 192 * MEGABYTE  # where it cannot be told whose: within what the unit's MemoryMax= leaves us
IN_VAIN = 4  # looks: one who is fast may have paused
STEP_BYTES = 16 * MEGABYTE  # where nobody was to blame, so much more, before we ask again
HELD_BYTES = MEGABYTE  # undelivered of one visitor: more than waits of one whom we serve late
SAMPLES, BETWEEN_S = 40, 0.0005  # of those on a socket file, when we ask
GOING_S = 0.02  # until libzmq has let go
TOLD = 8  # by name
TURNED_OUT = {"event": "turned out"}

log = logging.getLogger(__name__)


Found = Sequence[tuple[Visitors, Sequence[Visitor]]]


class Bouncer:
    """Watches the `halls` while its context lasts, in a thread. `accounted` is how many bytes are known to be ours."""

    def __init__(
        self,
        halls: Sequence[Visitors] = (),
        accounted: Callable[[], int] = lambda: 0,
        resident: Callable[[], int] = resident_bytes,
        look_s: float = LOOK_S,
    ) -> None:
        self._halls, self._accounted, self._resident = halls, accounted, resident
        self._look_s = look_s
        self._asked_at = BOUND_BYTES  # of growth
        self._weighed_s = 0.0
        self._in_vain = 0  # how often we asked where it was high time
        self._is_lenient = False
        self.turned_out = 0  # connections so far
        self._stop = Event()
        self._thread = Thread(target=self._run, name="bouncer", daemon=True)
        self.rebase()

    def rebase(self) -> None:
        """What memory holds now is ours: growth counts from here. From any thread."""
        self._base = self._resident()

    @contextmanager
    def lenient(self) -> Iterator[None]:
        """What memory grows by in here is ours, but for what is seen to be held by a visitor."""
        self._is_lenient = True
        try:
            yield
        finally:
            self._is_lenient = False
            self.rebase()

    def look(self) -> bool:
        """Is there more than there should be? Then those are hung up on who hold it; whether there was anybody."""
        now_s = time.monotonic()
        if now_s - self._weighed_s >= WEIGH_S:
            self._weighed_s = now_s
            for hall in self._halls:
                hall.look()
        if (grown := self._grown()) <= self._asked_at:
            return False
        if self._turn_out(self._ask(), grown):
            self._in_vain = 0
            return True
        _give_back()  # what was let go of meanwhile is nobody's
        if (grown := self._grown()) <= self._asked_at:
            return False
        self._asked_at = grown + STEP_BYTES
        if grown <= LAST_BYTES or self._is_lenient:
            return False
        self._asked_at, self._in_vain = grown, self._in_vain + 1
        if self._in_vain <= IN_VAIN:
            return False
        self._in_vain = 0
        log.warning(
            "memory grew by %d MB, and it cannot be seen for whom: whoever has sent nothing whole for a second is hung "
            "up on, and may come back",
            grown >> 20,
            extra=TURNED_OUT,
        )
        is_anybody = self._turn_out(self._quiet(), grown)
        self.rebase()  # whatever is left is not theirs
        return is_anybody

    def _grown(self) -> int:
        held = self._resident()
        self._base = min(self._base, held)
        grown = held - self._base - self._accounted()
        self._asked_at = max(BOUND_BYTES, min(self._asked_at, grown + STEP_BYTES))
        return grown

    def _ask(self) -> Found:
        """Who is seen to hold what is never delivered?"""
        present = [(hall, hall.look(at_all=True)) for hall in self._halls]
        for _ in range(SAMPLES):
            holding = [(hall, [each for each in there if each.held >= HELD_BYTES]) for hall, there in present]
            if any(there for _, there in holding):
                break
            for hall in self._halls:
                hall.sample()
            time.sleep(BETWEEN_S)
        most = max((each.held for _, there in holding for each in there), default=0)
        return [(hall, [each for each in there if each.held >= most // 2]) for hall, there in holding]

    def _quiet(self) -> Found:
        """Whoever has not ended a message of late: where nothing can be seen, one of them it must be."""
        since_s = time.monotonic() - WEIGH_S
        present = [(hall, hall.look()) for hall in self._halls]
        return [(hall, [each for each in there if each.heard_s < since_s]) for hall, there in present]

    def _turn_out(self, found: Found, grown: int) -> bool:
        """Hang up on them; whether there was anybody."""
        found = [(hall, visitors) for hall, visitors in found if visitors]
        for hall, visitors in found:
            who = ", ".join([each.hang_up() for each in visitors[:TOLD]])
            for each in visitors[TOLD:]:
                each.hang_up()
            self.turned_out += len(visitors)
            log.warning(
                "%s: memory grew by %d MB, for messages that never end; hung up on %d of %d connections: %s",
                *(hall.name, grown >> 20, len(visitors), len(hall), who),
                extra=TURNED_OUT,
            )
        if found:
            time.sleep(GOING_S)
            _give_back()
        return bool(found)

    def _run(self) -> None:
        wait_s = self._look_s
        while not self._stop.wait(wait_s):
            with suppress(OSError):  # no descriptor is left to look with: again, soon
                wait_s = 0.0 if self.look() else self._look_s  # whoever was hung up on may be back by now

    def __enter__(self) -> Self:
        self.rebase()
        if self._halls:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._halls:
            self._thread.join()


def _give_back() -> None:
    """Have the C library return what is free to the system: what it keeps for later looks as if it were used."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's alone
        trim(0)
