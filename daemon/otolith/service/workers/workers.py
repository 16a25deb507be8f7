"""Workers: a daemon as several processes. Here they are started, watched, started again, and ended.

The daemon itself opens no model: it holds the public addresses (`Switchboard`) and speaks with systemd for all.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import msgspec

from otolith.errors import OtolithError, SettingsError, UsageError
from otolith.service.control import open_control
from otolith.service.host.metering import metered
from otolith.service.host.systemd import notify, while_reloading
from otolith.service.renewal import ReadSettings, read_again
from otolith.service.workers.accord import Party, agree, change
from otolith.service.workers.health import Attest, Health
from otolith.service.workers.inquiry import inquire
from otolith.service.workers.switchboard import Switchboard
from otolith.service.workers.worker import Order, proposal_beside, share_of
from otolith.settings import Settings
from otolith.wire.control import Answer, DaemonStatus, Request
from otolith.wire.line import Line, worker_of

LOOK_S = 0.05  # how often workers are looked after; blocks and messages are not waited for
GATHER_S = 0.002  # behind a wake-up, for others to come: one costs as much as several blocks
STEADY_S = 10.0  # a shorter life is a failure
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 4.0)  # behind each failure in a row; behind one more, the daemon ends
STOP_S = 0.8
IPC_NAME_BYTES = 40  # what our socket files' names may add to the folder's
IPC_PATH_BYTES = 107

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Worker:
    """One worker, through all its lives. `failures` counts short ones in a row.

    `settings` are what it should work by; this life was begun with those of `begun_with`, or has changed to them. Where
    it could not, it `is_outdated`. `ended` are streams whose input has come to its end.
    """

    number: int
    settings: Settings
    health: Health
    order: Path
    ended: frozenset[str] = frozenset()
    begun_with: Settings | None = None
    is_outdated: bool = False
    process: subprocess.Popen[bytes] | None = None
    start_at_s: float = 0.0  # of this life, or of the next
    deaths: int = 0
    failures: int = 0
    is_over: bool = False

    @property
    def name(self) -> str:
        return f"worker {self.number + 1}"

    @property
    def party(self) -> Party:
        """Whom to ask for another way to work."""
        return Party(self.name, Path(str(self.settings.control)), proposal_beside(self.order))

    def left_of(self, settings: Settings) -> Settings:
        """`settings` without the streams whose input has come to its end."""
        ended = {stream.name: stream.source for stream in self.settings.stream if stream.name in self.ended}
        return share_of(settings, {s.name for s in settings.stream if ended.get(s.name) != s.source})

    def take_on(self, settings: Settings) -> None:
        """Work by other settings from here on. One that was over has a new life, if it has new streams."""
        left = {stream.name for stream in self.left_of(settings).stream}
        self.ended = frozenset(stream.name for stream in settings.stream if stream.name not in left)
        self.settings, self.is_over = settings, self.is_over and not left


class Workers:
    """`settings.workers` processes behind one switchboard. Raises as a `Publisher` and an `Ingest` would."""

    def __init__(self, settings: Settings, where: str) -> None:
        self._where, self._settings, self._began_s = where, settings, time.monotonic()
        self._is_stopping, self._looked_s = False, time.monotonic()
        self._attest = Attest()
        self._reloading = Lock()
        self.read_settings: ReadSettings | None = None  # as they now stand in their file
        self._folder = private_folder()
        try:
            self._board = Switchboard(settings, self._folder)
            self.endpoint = self._board.endpoint
            self._workers = [self._hire(settings, line) for line in self._board.lines]
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def run(self) -> None:
        """Until all workers' sources have ended, or the daemon is stopped. Raises what ended a worker for good."""
        control = open_control(self._settings.control, self._answer)
        if control is not None:
            control.start()
        try:
            with metered(self._settings.metrics, self.status), self._board.bouncer:
                self._watch()
        finally:
            if control is not None:
                control.close()
            self._end()

    def _watch(self) -> None:
        while not self._is_stopping and not all(worker.is_over for worker in self._workers):
            now_s = time.monotonic()
            passed_s, self._looked_s = min(now_s - self._looked_s, 1.0), now_s  # less, if we were stopped
            for worker in self._workers:
                self._look_after(worker, passed_s)
            self._report(now_s)
            deadline_s = time.monotonic() + LOOK_S
            while (left_s := deadline_s - time.monotonic()) > 0 and not self._is_stopping:
                if self._board.wait(left_s):
                    time.sleep(GATHER_S)
                self._board.serve()

    def _answer(self, request: Request) -> Answer:
        if request.command == "reload":
            return Answer(changes=self.reload())
        if request.command != "status":
            raise UsageError(f"{request.command} is asked of workers, not of their daemon; ask for a reload")
        return Answer(status=self.status())

    def status(self) -> DaemonStatus:
        """How all are now. From any thread."""
        paths = [Path(str(worker.settings.control)) for worker in self._workers]
        return inquire(paths, self.endpoint, time.monotonic() - self._began_s)

    def reload(self) -> list[str]:
        """Read the settings again and have all workers listen as they say; what changed, a line each.

        From any thread but the one that runs. Raises `OtolithError` where one cannot: then nothing has changed. A
        worker that has died since, or does not change as it should, is started again with the new settings.
        """
        with self._reloading, while_reloading(is_ready=self._attest.is_ready):
            settings = read_again(self.read_settings, self._settings)
            shares = {worker.number: self._share(settings, worker.number) for worker in self._workers}
            asked = [w for w in self._workers if not w.is_over or w.left_of(shares[w.number]).stream]
            for worker in asked:
                line = self._board.lines[worker.number]
                self._write(worker.party.proposal, worker.left_of(shares[worker.number]), line)
            agree([worker.party for worker in asked])
            self._settings = settings
            for worker in self._workers:
                worker.take_on(shares[worker.number])
            return self._change(asked)

    def _change(self, workers: list[Worker]) -> list[str]:
        changes = []
        for worker, answer in zip(workers, change([worker.party for worker in workers]), strict=True):
            if not answer.error:
                worker.begun_with = worker.settings
                changes += answer.changes
                continue
            worker.is_outdated = True
            changes.append(f"{worker.name}: is started with the new settings")
            log.info("%s, since as it was it cannot change: %s", changes[-1], answer.error)
        return changes

    def _write(self, path: Path, settings: Settings, line: Line) -> None:
        path.write_bytes(msgspec.json.encode(Order(settings, self._where, line, os.getpid())))

    def stop(self) -> None:
        """End soon, with everybody's last words. Safe in a signal handler."""
        self._is_stopping = True

    def _hire(self, settings: Settings, line: Line) -> Worker:
        notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        notified.bind(str(line.notify))
        share = self._share(settings, line.worker)
        order = Path(self._folder) / f"{line.worker}.order"
        return Worker(line.worker, share, Health(notified), order, is_over=not share.stream and settings.ingest is None)

    def _share(self, settings: Settings, number: int) -> Settings:
        names = {stream.name for stream in settings.stream}
        own = {name for name in names if worker_of(name.encode(), settings.workers) == number}
        return msgspec.structs.replace(share_of(settings, own), control=f"{self._folder}/{number}.control")

    def _start(self, worker: Worker) -> None:
        """Begin a life. By the main thread: a worker dies with the thread that started it."""
        line = self._board.connect(worker.number)
        worker.begun_with = worker.settings
        self._write(worker.order, worker.left_of(worker.begun_with), line)
        worker.health.begin()
        worker.process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
            [sys.executable, "-P", "-m", "otolith.service.workers.worker", str(worker.order)],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "NOTIFY_SOCKET": str(line.notify)},
        )

    def _look_after(self, worker: Worker, passed_s: float) -> None:
        """Start a worker that is due; notice one that has died, and end one that hangs."""
        worker.health.listen(passed_s, worker.number in self._board.pulses)
        self._board.pulses.discard(worker.number)
        if worker.is_over:
            return
        if worker.is_outdated and worker.process is not None:
            worker.is_outdated = False
            if worker.begun_with is not worker.settings:
                worker.start_at_s = -STEADY_S  # it is no failure of its own
                worker.process.kill()
        if worker.process is None:
            if (now_s := time.monotonic()) >= worker.start_at_s:
                worker.start_at_s = now_s
                self._start(worker)
        elif (code := worker.process.poll()) is not None:
            worker.process = None
            self._bury(worker, code)
        elif worker.health.hangs:
            extra = {"worker": worker.number + 1, "event": "hangs"}
            log.warning(
                "%s hangs: nothing came of it for %.0f s; ending it", worker.name, worker.health.silent_s, extra=extra
            )
            worker.health.silent_s = 0.0
            worker.process.kill()

    def _bury(self, worker: Worker, code: int) -> None:
        """What follows of a worker's end. Raises `OtolithError` where another start would not mend it."""
        name = worker.name
        if code == 0:
            worker.is_over, worker.ended = True, frozenset(stream.name for stream in worker.settings.stream)
            return
        if code == SettingsError.exit_code:
            raise SettingsError(f"{self._where}: {name} cannot work with these settings; its own words stand above")
        worker.deaths += 1
        worker.failures = 1 if time.monotonic() - worker.start_at_s > STEADY_S else worker.failures + 1
        if worker.failures > len(BACKOFF_S):
            raise OtolithError(
                f"{name} died {worker.failures} times, each within {STEADY_S:g} s; its own words stand above"
            )
        wait_s = BACKOFF_S[worker.failures - 1]
        worker.start_at_s = time.monotonic() + wait_s
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        extra = {"worker": worker.number + 1, "event": "died", "reason": how}
        again = "%s died (%s), for the %d. time; starting it again in %g s"
        log.warning(again, name, how, worker.deaths, wait_s, extra=extra)

    def _report(self, now_s: float) -> None:
        if not self._attest.is_due(now_s):
            return
        working = [worker.health for worker in self._workers if not worker.is_over]
        if not self._attest.is_ready:
            self._attest.greet(working)
        else:
            deaths = sum(worker.deaths for worker in self._workers)
            self._attest.report(now_s, working, deaths, leave=self._board.pulse())

    def _end(self) -> None:
        """End all workers, and let their last words out."""
        notify("STOPPING=1")
        self._board.stop_listening()
        running = [worker.process for worker in self._workers if worker.process is not None]
        for process in running:
            process.terminate()
        deadline_s = time.monotonic() + STOP_S
        while any(process.poll() is None for process in running) and time.monotonic() < deadline_s:
            self._board.wait(0.02)
            self._board.serve()
        for process in running:
            process.kill()
            process.wait()
        self._board.serve()
        self._board.close()
        for worker in self._workers:
            worker.health.notified.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def private_folder() -> str:
    """A folder for our socket files that nobody else may enter, where systemd, the session or the system keeps such."""
    for place in (os.environ.get("RUNTIME_DIRECTORY"), os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if place and len(os.fsencode(place)) + IPC_NAME_BYTES <= IPC_PATH_BYTES and os.access(place, os.W_OK):
            return tempfile.mkdtemp(prefix="otolith-", dir=place)
    raise OtolithError("no folder for the workers' sockets; set XDG_RUNTIME_DIR to one that can be written")
