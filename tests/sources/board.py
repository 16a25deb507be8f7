"""A sensor's board on a serial line, which a test plugs in and out: a real pseudo-terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.sources.live import Reading


class Board:
    """A sensor's board: the far end of a line, plugged in at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plug_in()

    def plug_in(self) -> None:
        self._fd, self._line = os.openpty()
        self.path.symlink_to(os.ttyname(self._line))

    def unplug(self) -> None:
        self.path.unlink()
        os.close(self._line)
        os.close(self._fd)

    def send(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        while data:
            data = data[os.write(self._fd, data[:1024]) :]
            time.sleep(0.001)

    def send_until_heard(self, reading: Reading, text: str | Callable[[], str]) -> None:
        """Whoever plugs a board in does not know when somebody listens to it."""
        heard, deadline_s = reading.heard, time.monotonic() + 20
        while reading.heard == heard:
            assert time.monotonic() < deadline_s
            self.send(text if isinstance(text, str) else text())
            time.sleep(0.05)
