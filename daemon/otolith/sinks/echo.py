"""The echo: a subscriber of our own, whose hearing proves that what is published leaves.

It is there only where systemd watches. Once a second something is sent to it the way predictions go, through
the publisher's socket, ZeroMQ's own thread and the kernel; a publisher that is stuck sends none.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Self

import zmq

from otolith.wire.endpoint import IPC_PATH_LIMIT, bind

TOPIC = b"@otolith/echo"  # outside of the wire's topics: no subscriber of ours asks for it


class Echo:
    """Binds `publisher` to a socket file of its own in `folder`, before anything else is bound, and listens there."""

    def __init__(self, publisher: zmq.Socket[bytes], context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> None:
        self._publisher = publisher
        self._file = folder / f"echo-{os.getpid()}.sock"
        self._file.unlink(missing_ok=True)
        endpoint = bind(publisher, f"ipc://{self._file}")
        self._ear = context.socket(zmq.SUB)
        self._ear.setsockopt(zmq.SUBSCRIBE, TOPIC)
        self._ear.connect(endpoint)

    @classmethod
    def where_watched(cls, publisher: zmq.Socket[bytes], context: zmq.Context[zmq.Socket[bytes]]) -> Self | None:
        """An echo where systemd waits for a watchdog's word, and None elsewhere."""
        if not (os.environ.get("WATCHDOG_USEC") and os.environ.get("NOTIFY_SOCKET")):
            return None
        places = (os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0], os.environ.get("XDG_RUNTIME_DIR", ""))
        folder = Path(next((place for place in places if place), tempfile.gettempdir()))
        is_fit = len(os.fsencode(folder)) + 20 <= IPC_PATH_LIMIT and os.access(folder, os.W_OK)
        return cls(publisher, context, folder) if is_fit else None

    def pulse(self) -> bool:
        """Send once more; whether what was sent before has been heard since the last call."""
        is_heard = False
        while int(self._ear.get(zmq.EVENTS)) & zmq.POLLIN:
            self._ear.recv_multipart(zmq.NOBLOCK)
            is_heard = True
        self._publisher.send_multipart([TOPIC, b""], zmq.DONTWAIT)
        return is_heard

    def close(self) -> None:
        """Listen no more; the socket file goes."""
        self._ear.close(linger=0)
        self._file.unlink(missing_ok=True)
