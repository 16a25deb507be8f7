"""A machine between a producer and a daemon: it hands on bytes, and resets all connections when told to."""

from __future__ import annotations

import selectors
import socket
import struct
from threading import Event, Thread
from typing import Self

AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: what is closed is reset (RST), and what is on its way is lost


class Relay:
    """Listens on `port`, and connects to the port `to`, one connection for each that comes."""

    def __init__(self, to: int) -> None:
        self._to, self._stop, self._is_to_reset = to, Event(), Event()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._thread = Thread(target=self._run)
        self._thread.start()

    def reset(self) -> None:
        self._is_to_reset.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.02):
                if key.fileobj is self._server:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._peers:
                    self._hand_on(key.fileobj)
            if self._is_to_reset.is_set():
                self._is_to_reset.clear()
                self._reset_all()
        self._reset_all()

    def _accept(self) -> None:
        near, _ = self._server.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            near.close()
            return
        for here, there in ((near, far), (far, near)):
            self._peers[here] = there
            self._selector.register(here, selectors.EVENT_READ)

    def _hand_on(self, here: socket.socket) -> None:
        there = self._peers[here]
        try:
            data = here.recv(4096)
            there.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._close(here)
            self._close(there)

    def _close(self, line: socket.socket) -> None:
        self._selector.unregister(line)
        del self._peers[line]
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        line.close()

    def _reset_all(self) -> None:
        for line in list(self._peers):
            self._close(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._selector.close()
        self._server.close()
