"""The keeper: writes checkpoints beside the loop, and has what the run before left for the streams that ask.

A file is written beside the last one and renamed, so one that is whole is always there. Nothing is forced to the disk:
a crash of the daemon loses nothing by that, and one of the machine makes the state older than anybody would use.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Thread

from otolith.service.ailments import Ailments
from otolith.service.keeping.checkpoint import Checkpoint, encode
from otolith.service.keeping.disk import ALLOWED, obstacle, replace_file
from otolith.service.keeping.estate import SUFFIX, Estate, read_estate
from otolith.settings import StateSettings
from otolith.wire.line import Standing

PART = "state"
LOCK = ".lock"
HOLD_S = 1.0  # a worker of a run that was killed may take a moment to be gone
SETTLE_S = 0.1  # what a checkpoint counts as told must have left before it is kept, or a kill between loses it unsaid
RELAYED_S = 0.3  # the same of a worker, whose words leave by another process
LOOK_S = 0.5  # between writes, whether the next one would fail is seen so often
RETRY_S = 1.0  # behind a write that failed for no reason that can be seen
SLOW_S = 2.0  # a write, or a look, that takes longer is told
LAST_S = 1.0  # for the last checkpoint of a clean stop


class Keeper:
    """Keeps `folder`'s file number `number`, of this process alone; where it cannot, `ailments` say so.

    `estate` is what the run before left there; `gone` tells, at a moment, how far streams had come that fell silent.
    """

    def __init__(
        self, settings: StateSettings, folder: Path, number: int, ailments: Ailments, *, is_worker: bool = False
    ) -> None:
        self.period_s, self.within_s = settings.period_s, settings.resume_within_s
        self._folder, self._number, self._ailments = folder, number, ailments
        self._path = folder / f"{number}{SUFFIX}"
        self._settle_s = RELAYED_S if is_worker else SETTLE_S
        self._lock, self._size = -1, 0
        self._asked_s = float("-inf")
        self._ails = self._is_doubted = False  # the last write failed; the next one may not end as that did
        self._obstacle = ""
        self.estate = Estate()
        self.gone: Callable[[float], Mapping[str, Standing]] = lambda _now_s: {}
        with self._telling():
            self._hold(HOLD_S)
            self.estate = read_estate(folder)
        self._changed = Condition()
        self._next: Checkpoint | None = None
        self._began_s = 0.0  # of the write or look that goes on, 0 where none does
        self._is_writing = self._is_closing = self._is_over = False
        self._thread = Thread(target=self._run, name=PART, daemon=True)
        self._thread.start()

    @property
    def due_s(self) -> float:
        """When to ask next: each period; sooner where the disk has failed, seems to, or does not answer."""
        if self._is_doubted:
            return 0.0
        is_blind = self._ails and not self._obstacle
        due_s = self._asked_s + (min(self.period_s, RETRY_S) if is_blind else self.period_s)
        return min(due_s, self._began_s + SLOW_S) if self._began_s and not self._ails else due_s

    def wants(self, now_s: float) -> bool:
        """Is a checkpoint to be taken now? Not while the last one is still being written."""
        if now_s < self.due_s:
            return False
        self._asked_s, self._is_doubted = now_s, False
        began_s = self._began_s
        if began_s and now_s - began_s >= SLOW_S:
            self._ail("the disk does not answer")
        return self._next is None and not self._is_writing

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
        while not self._is_over:
            checkpoint = self._await()
            self._began_s = time.monotonic()
            if checkpoint is None:
                self._look()
            else:
                self._write(checkpoint)
            self._began_s = 0.0
        if self._lock >= 0:
            os.close(self._lock)

    def _await(self) -> Checkpoint | None:
        """The next one, once it has settled; None where none comes for a while."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._next is not None, LOOK_S):
                return None
            if self._size:  # the first one counts nothing as told
                self._changed.wait_for(lambda: self._is_closing, self._settle_s)
            self._is_writing, self._is_over = True, self._is_closing
            checkpoint, self._next = self._next, None
            return checkpoint

    def _write(self, checkpoint: Checkpoint) -> None:
        with self._telling():
            if self._lock < 0:
                self._hold()
            content = encode(checkpoint)
            self._size = len(content)
            replace_file(self._path, content)
            self._ails = False
            self._ailments.mend(PART)
        self._obstacle = obstacle(self._path, self._size)
        self._is_writing = False

    def _look(self) -> None:
        """Where something has come in the way of the next write, or has gone: whether it has is for a write to say."""
        seen = obstacle(self._path, self._size)
        if seen != self._obstacle:
            self._obstacle, self._is_doubted = seen, True
            self._ailments.wake()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._ail(str(error.strerror))

    def _ail(self, reason: str) -> None:
        self._ails = True
        self._ailments.ail(PART, f"{self._path}: {reason}")

    def _hold(self, patience_s: float = 0.0) -> None:
        """A lock that ends with this process: of two that write one file, each would resume the other's streams."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / f"{self._number}{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, ALLOWED)
        deadline_s = time.monotonic() + patience_s
        while not _locked(descriptor):
            if time.monotonic() >= deadline_s:
                os.close(descriptor)
                raise BlockingIOError(0, "another daemon keeps its state there")
            time.sleep(0.02)
        self._lock = descriptor

    def _with_absent(self, checkpoint: Checkpoint) -> Checkpoint:
        """With what may come back in the run after this one, and when it was taken."""
        now_s = time.monotonic()
        groups, absent = self.estate.absent(now_s)
        gone = absent | {stream: (at.boot, at.seq) for stream, at in self.gone(now_s).items()}
        return Checkpoint([*checkpoint.groups, *groups], self.estate.since_ns(now_s) or time.time_ns(), gone)


def open_keeper(settings: StateSettings, number: int, ailments: Ailments, *, is_worker: bool = False) -> Keeper | None:
    """What the settings ask for: in a folder of its own, in systemd's state folder (true), or none."""
    folder = state_folder(settings)
    return None if folder is None else Keeper(settings, folder, number, ailments, is_worker=is_worker)


def state_folder(settings: StateSettings) -> Path | None:
    """Where checkpoints are kept, if they are."""
    if isinstance(settings.folder, str):
        return Path(settings.folder) if settings.folder else None
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(given) / "streams" if settings.folder and given else None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
