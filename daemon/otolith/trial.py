"""The trial: a stranger's model is opened and proved in another process first, within limits on memory and time.

What passes the gate may still crash the runtime or ask too much of it: that ends the other process, and is told with
its reason. It takes a third of a second to be ready, so whoever will need it starts it beside his own start.
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from otolith.errors import ModelError, OtolithError

if TYPE_CHECKING:
    from otolith.inference.model import Model

CPU_S = 2  # of a model's own, less what is left of a whole second: one that needs more could keep pace with nothing
MEMORY_BYTES = 256 << 20  # of address space, beyond what interpreter and runtime have taken
MEMORY_A_BYTE = 8  # and so much for each byte of the file: the runtime folds weights and packs them again
GENTLER = 5  # of a niceness: beside streams that run, on a core that may be theirs, it has a third of a turn
PATIENCE_S = 20.0  # by the clock: the machine may be busy, or the process wait for what never comes
ANSWER_BYTES = 4096
PASSED_ON = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH")  # and no secret of ours
READY = b"ready"


class Trial:
    """The other process. It tries models one by one, and ends with `close`. Raises `OtolithError` where it cannot be.

    It begins `at_once`, or with the first model. `passed` is a folder that nobody else may enter, where it is noted
    what passed, by digest: a worker that died comes back sooner. A `gentle` one gives way to whoever calls.
    """

    def __init__(self, passed: Path | None = None, *, at_once: bool = True, gentle: bool = False) -> None:
        self._passed, self._gentle = passed, gentle
        self._process: subprocess.Popen[bytes] | None = None
        if at_once:
            self._begin()

    def _begin(self) -> subprocess.Popen[bytes]:
        """The process, begun if it was not."""
        if self._process is not None:
            return self._process
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        command = [sys.executable, "-P", "-m", "otolith.trial"]  # -P: the folder we stand in may be a stranger's
        null = subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                command, stdin=theirs.fileno(), stdout=null, stderr=null, env={**environment, "OMP_NUM_THREADS": "1"}
            )
        except OSError as error:
            ours.close()
            raise OtolithError(f"no process to try models in can be started ({error.strerror})") from None
        finally:
            theirs.close()
        if self._gentle:
            with suppress(OSError):  # where that is forbidden it is as good, only sooner done
                os.setpriority(os.PRIO_PROCESS, self._process.pid, os.getpriority(os.PRIO_PROCESS, 0) + GENTLER)
        self._line, self._is_ready = ours, False
        self._line.settimeout(PATIENCE_S)
        return self._process

    def open(self, path: str | Path) -> Model:
        """The model at `path`, once it passed. Raises `ModelError`, `OtolithError` where nothing can be tried."""
        from otolith.inference.card_text import read_card
        from otolith.inference.gate import gate  # here: to begin, there is nothing to wait for

        where = str(path)
        content = gate.read_model_file(Path(path))
        read_card(gate.inspect(content, where), where)
        digest = hashlib.sha256(content).hexdigest()
        mark = None if self._passed is None else self._passed / f"{digest}.passed"
        if mark is None or not mark.exists():
            self._send(content, where)
            self._hear(where)
            if mark is not None:
                mark.touch()
        from otolith.inference.model import Model

        return Model.load(content, where)

    def open_all(self, paths: Iterable[str]) -> dict[str, Model]:
        """Each model once, by path."""
        return {path: self.open(path) for path in dict.fromkeys(paths)}

    def close(self) -> None:
        """End the other process."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._line.close()

    @property
    def is_alive(self) -> bool:
        """Can it try another one?"""
        return self._process is None or self._process.poll() is None

    def _send(self, content: bytes, where: str) -> None:
        self._begin()
        file = os.memfd_create("model", os.MFD_CLOEXEC)
        try:
            with os.fdopen(file, "wb", closefd=False) as copy:
                copy.write(content)
            socket.send_fds(self._line, [where.encode("utf-8", "replace")[:ANSWER_BYTES]], [file])
        except OSError:  # it has ended: what comes next tells
            return
        finally:
            os.close(file)

    def _hear(self, where: str) -> None:
        """Wait for the verdict. Raises `ModelError` with it where it is no good one."""
        try:
            if not self._is_ready and self._next_word() != READY:
                raise OtolithError(f"the process to try models in {self._end()}; is there memory left for it?")
            self._is_ready = True
            verdict = self._next_word()
        except TimeoutError:
            raise ModelError(
                f"{where}: gives no answer within {PATIENCE_S:g} s when it is tried; train a smaller network"
            ) from None
        if not verdict:
            raise ModelError(
                f"{where}: {self._end()} when it was tried; export the model again, or train a smaller one"
            )
        if verdict != READY:
            raise ModelError(verdict.decode("utf-8", "replace"))

    def _next_word(self) -> bytes:
        """What the other process says; nothing where it has ended."""
        try:
            return self._line.recv(ANSWER_BYTES)
        except ConnectionError:
            return b""

    def _end(self) -> str:
        """How the other process ended, as words."""
        code = self._begin().wait(PATIENCE_S)
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            return f"took over {CPU_S} s of CPU"
        return f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_model(path: str | Path) -> Model:
    """A stranger's model, tried and opened. Raises `OtolithError`."""
    with Trial() as trial:
        return trial.open(path)


def _serve(line: socket.socket) -> None:
    """The other process: try each model that comes, until nobody is there any more."""
    from otolith.inference.model import Model

    line.send(READY)
    while True:
        where, files, _, _ = socket.recv_fds(line, ANSWER_BYTES, 1)
        if not files:
            return
        with os.fdopen(files[0], "rb") as file:
            file.seek(0)
            content = file.read()
        _limit(len(content))
        try:
            Model.load(content, where.decode())
        except ModelError as error:
            line.send(str(error).encode()[:ANSWER_BYTES])
        except MemoryError:
            line.send(where + b": asks for more memory than a model of its size may; train a smaller network")
        else:
            line.send(READY)


def _limit(size: int) -> None:
    """What a model of `size` bytes may take, beside what was taken before it."""
    with Path("/proc/self/statm").open() as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    memory = taken + MEMORY_BYTES + MEMORY_A_BYTE * size
    cpu_s = int(time.process_time()) + CPU_S
    for what, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, cpu_s)):
        hard = resource.getrlimit(what)[1]  # stays, so that the next model may have its share
        resource.setrlimit(what, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    for what in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(what, (0, 0))


if __name__ == "__main__":
    _serve(socket.socket(fileno=0))
