"""Endpoints: which addresses may be bound, and how a socket file is held.

Without keys only loopback and socket files are safe; whoever binds one says so with its own word in front.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

import zmq

from otolith.errors import SettingsError, WireError
from otolith.wire.guard import Guard

IPC_PATH_LIMIT = 107
LOOPBACK = re.compile(r"tcp://(127(?:\.\d{1,3}){3}|\[::1\]|localhost):(\d{1,5}|\*)")


def check_endpoint(endpoint: str, where: str, danger: str, *, is_guarded: bool = False) -> None:
    """Raises `SettingsError` unless ZeroMQ's `endpoint` is loopback, a socket file or guarded; `danger` says why."""
    if endpoint.startswith("ipc://"):
        path = Path(endpoint.removeprefix("ipc://"))
        if len(os.fsencode(path)) > IPC_PATH_LIMIT:
            raise SettingsError(f"{where}: the path may have {IPC_PATH_LIMIT} bytes; choose a shorter one")
        if not os.path.isdir(path.parent):  # noqa: PTH112 - to a name that is too long, a Path raises
            raise SettingsError(f"{where}: folder {path.parent} does not exist; make it first")
    elif not endpoint.startswith("tcp://"):
        raise SettingsError(f"{where}: write tcp://127.0.0.1:PORT or ipc:///PATH")
    elif not is_guarded and not LOOPBACK.fullmatch(endpoint):
        raise SettingsError(
            f"{where}: without keys only loopback (tcp://127.0.0.1:PORT) and socket files (ipc:///PATH) are served: "
            f"{danger}; otolith keys make, and keys = FOLDER in the settings, let others in"
        )


def hold(endpoint: str, where: str) -> int | None:
    """Hold a lock beside a socket file: a second bind would take the file over without a word. Close it to let go."""
    if not endpoint.startswith("ipc://"):
        return None
    path = endpoint.removeprefix("ipc://") + ".lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise WireError(f"{where}: another daemon holds {path}; stop it or choose another path") from None
    return descriptor


def bind(socket: zmq.Socket[bytes], endpoint: str, guard: Guard | None = None) -> str:
    """Bind, a socket file for its owner and group alone; the endpoint with its port. Raises `zmq.ZMQError`.

    Where there is a guard, whatever a network could reach is locked with its key.
    """
    if guard is not None and endpoint.startswith("tcp://"):
        guard.lock(socket)
    socket.setsockopt(zmq.IPV6, "[" in endpoint)
    mask = os.umask(0o117)
    try:
        socket.bind(endpoint)
    finally:
        os.umask(mask)
    return str(socket.getsockopt_string(zmq.LAST_ENDPOINT))
