"""A FIFO that outlives its writers: when one dies, the next is waited for."""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from threading import Event

from otolith.errors import SourceError
from otolith.sources.reading.reads import READ_BYTES, STOP_CHECK_S, Patience, Read, Silence


class Fifo:
    """The FIFO at `path`. Raises `SourceError` where there is none."""

    def __init__(self, path: str, patience: Patience) -> None:
        self._path, self._patience = path, patience
        self.name = f"pipe:{path}"
        self._file = self._open()
        self._has_writer = False

    def reads(self, stop: Event) -> Iterator[Read]:
        """Whatever its writers write, as it comes. Raises `SourceError` where it is removed or replaced."""
        poller = select.poll()
        poller.register(self._file, select.POLLIN)
        try:
            while not stop.is_set():
                if not poller.poll(STOP_CHECK_S * 1000):
                    yield from self._wait()
                elif data := self._file.read(READ_BYTES):
                    self._has_writer = True
                    self._patience.heard(time.monotonic())
                    yield data
                else:
                    poller.unregister(self._file)
                    self._reopen()
                    poller.register(self._file, select.POLLIN)
                    yield Silence(f"{self.name}: its writer is gone", cuts=True)
        finally:
            self._file.close()

    def _open(self) -> FileIO:
        try:
            file = FileIO(self._path, opener=_open_at_once)
        except OSError as error:
            raise SourceError(
                f"{self.name}: cannot be opened ({error.strerror}); make it with mkfifo {self._path}"
            ) from None
        if not stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            file.close()
            raise SourceError(f"{self.name}: is no FIFO; make one with mkfifo, or name a file as recording:")
        return file

    def _reopen(self) -> None:
        """Before the old end is closed: a writer that has come meanwhile would be killed by a FIFO without a reader."""
        file = self._open()
        self._file.close()
        self._file, self._has_writer = file, False

    def _wait(self) -> Iterator[Silence]:
        if self._patience.is_over(time.monotonic()):
            yield Silence(f"{self.name}: {'stalled' if self._has_writer else 'nobody writes to it'}")
        if not self._is_there():
            raise SourceError(f"{self.name}: was removed; make it anew with mkfifo {self._path}")

    def _is_there(self) -> bool:
        try:
            there = Path(self._path).stat()
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._file.fileno()))


def _open_at_once(path: str, flags: int) -> int:
    """Without a writer too."""
    return os.open(path, flags | os.O_NONBLOCK)
