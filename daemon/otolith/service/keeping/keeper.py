"""The keeper: writes checkpoints beside the loop, and has what the run before left for the streams that ask.

A file is written beside the last one and renamed, so one that is whole is always there. Nothing is forced to the disk:
a crash of the daemon loses nothing by that, and one of the machine makes the state older than anybody would use.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Thread

from otolith.service.ailments import Ailments
from otolith.service.keeping.checkpoint import Checkpoint, encode
from otolith.service.keeping.estate import SUFFIX, Estate, read_estate
from otolith.settings import StateSettings

PART = "state"
LOCK = ".lock"
SLOW_S = 2.0  # a write that takes longer is told
LAST_S = 1.0  # for the last checkpoint of a clean stop
ALLOWED = 0o600


class Keeper:
    """Keeps `folder`'s file number `number`, of this process alone; where it cannot, `ailments` say so.

    `estate` is what the run before left there.
    """

    def __init__(self, settings: StateSettings, folder: Path, number: int, ailments: Ailments) -> None:
        self.period_s, self.within_s = settings.period_s, settings.resume_within_s
        self.due_s = 0.0
        self._folder, self._number, self._ailments = folder, number, ailments
        self._path = folder / f"{number}{SUFFIX}"
        self._lock = -1
        self.estate = Estate()
        with self._telling():
            self._hold()
            self.estate = read_estate(folder)
        self._changed = Condition()
        self._next: Checkpoint | None = None
        self._began_s = 0.0  # of the write that goes on, 0 where none does
        self._is_closing = False
        self._thread = Thread(target=self._run, name=PART, daemon=True)
        self._thread.start()

    def wants(self, now_s: float) -> bool:
        """Is a checkpoint to be taken now? Not while the last one is still being written."""
        if now_s < self.due_s:
            return False
        self.due_s = now_s + self.period_s
        began_s = self._began_s
        if began_s and now_s - began_s > SLOW_S:
            self._ailments.ail(PART, f"{self._path}: the disk does not answer")
        return not began_s and self._next is None

    def take(self, checkpoint: Checkpoint) -> None:
        """Write that, in a thread of its own; never waits."""
        checkpoint = self._with_absent(checkpoint)
        with self._changed:
            self._next = checkpoint
            self._changed.notify()

    def close(self, checkpoint: Checkpoint) -> None:
        """Write a last one; waits for it, for a second at most."""
        checkpoint = self._with_absent(checkpoint)
        with self._changed:
            self._next, self._is_closing = checkpoint, True
            self._changed.notify()
        self._thread.join(LAST_S)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None)
                checkpoint, self._next = self._next, None
                self._began_s, is_last = time.monotonic(), self._is_closing
            assert checkpoint is not None  # noqa: S101
            with self._telling():
                if self._lock < 0:
                    self._hold()
                replace_file(self._path, encode(checkpoint))
                self._ailments.mend(PART)
            self._began_s = 0.0
        if self._lock >= 0:
            os.close(self._lock)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._ailments.ail(PART, f"{self._path}: {error.strerror}")

    def _hold(self) -> None:
        """A lock that ends with this process: of two that write one file, each would resume the other's streams."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / f"{self._number}{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, ALLOWED)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise OSError(error.errno, "another daemon keeps its state there") from None
        self._lock = descriptor

    def _with_absent(self, checkpoint: Checkpoint) -> Checkpoint:
        """With what may come back in the run after this one, and when it was taken."""
        now_s = time.monotonic()
        groups = [*checkpoint.groups, *self.estate.absent(now_s)]
        return Checkpoint(groups, self.estate.since_ns(now_s) or time.time_ns())


def open_keeper(settings: StateSettings, number: int, ailments: Ailments) -> Keeper | None:
    """What the settings ask for: in a folder of its own, in systemd's state folder (true), or none."""
    folder = state_folder(settings)
    return None if folder is None else Keeper(settings, folder, number, ailments)


def state_folder(settings: StateSettings) -> Path | None:
    """Where checkpoints are kept, if they are."""
    if isinstance(settings.folder, str):
        return Path(settings.folder) if settings.folder else None
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(given) / "streams" if settings.folder and given else None


def replace_file(path: Path, content: bytes) -> None:
    """Write beside `path`, then rename. Raises `OSError`; then `path` is as it was."""
    beside = path.with_suffix(".new")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, ALLOWED), "wb") as file:
            file.write(content)
        beside.rename(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
