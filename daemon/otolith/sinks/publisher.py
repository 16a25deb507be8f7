"""The publisher: messages over a ZeroMQ XPUB socket, on loopback or a socket file.

A subscriber that stalls loses messages and sees it in their sequence numbers; nobody else waits for it.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from otolith.errors import SettingsError, WireError
from otolith.wire.messages import Message, encode, topic_of

HELD_MESSAGES = 10_000
LINGER_MS = 500
IPC_PATH_LIMIT = 107
LOOPBACK = re.compile(r"tcp://(127(?:\.\d{1,3}){3}|\[::1\]|localhost):(\d{1,5}|\*)")


class Publisher:
    """Binds `endpoint`. Raises `WireError` where it is not ours to bind."""

    def __init__(self, endpoint: str) -> None:
        check_endpoint(endpoint)
        self._lock = _lock_file(endpoint)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, HELD_MESSAGES)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._socket.setsockopt(zmq.IPV6, "[" in endpoint)
        try:
            self._bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise WireError(
                f"publish {endpoint}: cannot be bound ({error.strerror.lower()}); "
                "is another daemon running? choose another endpoint with --publish"
            ) from None
        self.endpoint: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def take(self, message: Message) -> None:
        """Send `[topic, payload]`; never waits (XPUB drops for a subscriber that is full)."""
        self._socket.send_multipart([topic_of(message), encode(message)], zmq.DONTWAIT)

    def close(self) -> None:
        """Let what is queued leave, for half a second at most."""
        self._socket.close()
        self._context.term()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _bind(self, endpoint: str) -> None:
        mask = os.umask(0o117)  # a socket file is for its owner and group
        try:
            self._socket.bind(endpoint)
        finally:
            os.umask(mask)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_endpoint(endpoint: str) -> None:
    """Only loopback and socket files are safe without keys. Raises `SettingsError`."""
    if endpoint.startswith("ipc://"):
        path = Path(endpoint.removeprefix("ipc://"))
        if len(os.fsencode(path)) > IPC_PATH_LIMIT:
            raise SettingsError(f"publish {endpoint}: the path may have {IPC_PATH_LIMIT} bytes; choose a shorter one")
        if not path.parent.is_dir():
            raise SettingsError(f"publish {endpoint}: folder {path.parent} does not exist; make it first")
    elif not LOOPBACK.fullmatch(endpoint):
        raise SettingsError(
            f"publish {endpoint}: only loopback (tcp://127.0.0.1:PORT) and socket files (ipc:///PATH) are served: "
            "anyone in reach could read along elsewhere"
        )


def _lock_file(endpoint: str) -> int | None:
    """Hold a lock beside a socket file: a second bind would take the file over without a word."""
    if not endpoint.startswith("ipc://"):
        return None
    path = endpoint.removeprefix("ipc://") + ".lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise WireError(f"publish {endpoint}: another daemon holds {path}; stop it or choose another path") from None
    return descriptor
