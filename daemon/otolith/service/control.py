"""The control socket: a daemon answers whoever asks how it is, or tells it to read its settings again."""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import msgspec

from otolith.errors import OtolithError, SettingsError, WireError
from otolith.wire.control import (
    LINE_BYTES,
    SOCKETS,
    Answer,
    Request,
    control_folders,
    decode_request,
    is_answered,
    read_line,
)
from otolith.wire.endpoint import IPC_PATH_LIMIT

LOOK_S = 0.2  # how often it is looked whether to end
PATIENCE_S = 1.0  # with somebody who has connected and says nothing
UCRED = struct.Struct("3i")  # pid, uid, gid of a peer, see unix(7)

log = logging.getLogger(__name__)


class Control:
    """Answers one request at a time, in a thread of its own; `answer` raises `OtolithError` on what it will not do.

    Raises `SettingsError` or `WireError` where the socket file cannot be made.
    """

    def __init__(self, path: Path, answer: Callable[[Request], Answer]) -> None:
        self.path, self._answer = path, answer
        self._stop = Event()
        if len(os.fsencode(path)) > IPC_PATH_LIMIT:
            raise SettingsError(f"control {path}: the path may have {IPC_PATH_LIMIT} bytes; choose a shorter one")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            path.unlink(missing_ok=True)  # of a daemon that was killed: ours has its own number in its name
            self._bind(path)
        except OSError as error:
            self._socket.close()
            raise WireError(f"control {path}: cannot be made ({error.strerror}); set control in the settings") from None
        self._thread = Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Answer from here on."""
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more; the socket file goes."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(LOOK_S + PATIENCE_S)
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def _bind(self, path: Path) -> None:
        mask = os.umask(0o117)
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(mask)
        self._socket.listen(8)
        self._socket.settimeout(LOOK_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                line, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:  # no descriptor is left: whoever asks later may find one
                if not self._stop.wait(LOOK_S):
                    log.warning("control %s: nobody can be answered (%s)", self.path, error.strerror)
                continue
            with line:
                line.settimeout(PATIENCE_S)
                try:
                    self.serve(line)
                except (OSError, ValueError):  # whoever asked has gone, or says nothing that ends
                    continue

    def serve(self, line: socket.socket) -> None:
        """Answer one who has connected. Raises `OSError` or `ValueError` where he says nothing that ends."""
        if not _is_trusted(line):
            return
        said = read_line(line, LINE_BYTES)
        try:
            answer = self._answer(decode_request(said))
        except OtolithError as error:
            answer = Answer(error=str(error))
        except Exception as error:  # whatever is wrong with one request, the next one is answered
            log.exception("control %s", self.path)
            answer = Answer(error=f"failed on a bug or for want of memory ({type(error).__name__}); see its log")
        line.sendall(msgspec.json.encode(answer) + b"\n")


def open_control(where: bool | str, answer: Callable[[Request], Answer]) -> Control | None:
    """The control socket that the settings ask for: at a path, in the usual place (true), or none (false)."""
    if not where:
        return None
    if isinstance(where, str):
        return Control(Path(where), answer)
    folder = control_folders()[0]
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise PermissionError(1, "it is another user's")
    except OSError as error:
        log.warning("no control socket: %s cannot be used (%s); set control in the settings", folder, error.strerror)
        return None
    for left in folder.glob(SOCKETS):
        if not is_answered(left):
            left.unlink(missing_ok=True)
    return Control(folder / SOCKETS.replace("*", str(os.getpid())), answer)


def _is_trusted(line: socket.socket) -> bool:
    """Is it root, or our own user, who asks? The kernel says so."""
    _, user, _ = UCRED.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    return user in (0, os.getuid())
