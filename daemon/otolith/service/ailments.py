"""Ailments: what a daemon cannot do beside predicting, said in every status until it can again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock

log = logging.getLogger(__name__)


class Ailments:
    """Parts ail and mend from any thread; `text` is what ails now, empty where nothing does."""

    def __init__(self) -> None:
        self.text = ""
        self.wake: Callable[[], None] = lambda: None  # called at each change: whoever tells of it may be waiting
        self._ills: dict[str, str] = {}
        self._lock = Lock()

    def ail(self, part: str, reason: str) -> None:
        """`part` does not do its work, for `reason`. It is logged once, however often it is told."""
        with self._lock:
            if self._ills.get(part) == reason:
                return
            self._ills[part] = reason
            self._tell()
        log.warning("%s: %s; predictions go on, and it is tried again", part, reason)

    def mend(self, part: str) -> None:
        """`part` works again, or still."""
        if part not in self._ills:
            return
        with self._lock:
            del self._ills[part]
            self._tell()
        log.info("%s: works again", part)

    def _tell(self) -> None:
        self.text = "; ".join(f"{part}: {reason}" for part, reason in self._ills.items())
        self.wake()
