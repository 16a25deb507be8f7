"""A peer that speaks ZeroMQ's protocol by hand (ZMTP 3.0, no keys), and begins a message that never ends."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from threading import Event, Thread
from typing import Self

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
AT_ONCE = 1 << 20


def connect(endpoint: str, kind: bytes) -> socket.socket:
    """As a socket of ZeroMQ's `kind`, behind the handshake."""
    if endpoint.startswith("ipc://"):
        line = socket.socket(socket.AF_UNIX)
        line.connect(endpoint.removeprefix("ipc://"))
    else:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        line = socket.create_connection((host, int(port)))
    line.sendall(hello(kind))
    receive(line, len(GREETING))
    receive(line, receive(line, 2)[1])  # it is ready as well
    return line


def hello(kind: bytes) -> bytes:
    """What a socket of ZeroMQ's `kind` begins with: greeting, handshake."""
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    return GREETING + bytes([4, len(ready)]) + ready


def receive(line: socket.socket, count: int) -> bytes:
    """So many bytes. Raises `OSError` where they do not come."""
    data = b""
    while len(data) < count:
        more = line.recv(count - len(data))
        if not more:
            raise ConnectionResetError("hung up")
        data += more
    return data


def whole(content: bytes) -> bytes:
    """A message of one part."""
    return bytes([0, len(content)]) + content


def part(size: int) -> bytes:
    """One part of a message that goes on."""
    head = bytes([1, size]) if size < 256 else b"\x03" + struct.pack(">Q", size)
    return head + b"\x01" * size


def endless(size: int) -> bytes:
    """About a megabyte of parts of `size` bytes."""
    return part(size) * max(1, AT_ONCE // size)


class Flood:
    """Sends `parts` again and again, in a thread, as fast as they are taken; when hung up on, it comes again."""

    def __init__(self, endpoint: str, kind: bytes, parts: bytes) -> None:
        self._endpoint, self._kind, self._parts = endpoint, kind, parts
        self.sent, self.hung_up = 0, 0
        self._stop = Event()
        self._thread = Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with connect(self._endpoint, self._kind) as line:
                    line.settimeout(0.5)
                    self._send(line)
            except OSError:
                self.hung_up += 1

    def _send(self, line: socket.socket) -> None:
        at = 0
        while not self._stop.is_set():
            with suppress(TimeoutError):
                count = line.send(memoryview(self._parts)[at:])
                self.sent += count
                at = (at + count) % len(self._parts)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
