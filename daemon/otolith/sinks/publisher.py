"""The publisher: messages over a ZeroMQ XPUB socket, on loopback or a socket file.

A subscriber that stalls loses messages and sees it in their sequence numbers; nobody else waits for it.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

import zmq

from otolith.errors import WireError
from otolith.wire.endpoint import bind, check_local, hold
from otolith.wire.messages import Message, encode, topic_of

HELD_MESSAGES = 10_000
LINGER_MS = 500


class Publisher:
    """Binds `endpoint`. Raises `WireError` where it is not ours to bind."""

    def __init__(self, endpoint: str) -> None:
        check_endpoint(endpoint)
        self._lock = hold(endpoint, f"publish {endpoint}")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, HELD_MESSAGES)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        try:
            self.endpoint = bind(self._socket, endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise WireError(
                f"publish {endpoint}: cannot be bound ({error.strerror.lower()}); "
                "is another daemon running? choose another endpoint with --publish"
            ) from None

    def take(self, message: Message) -> None:
        """Send `[topic, payload]`; never waits (XPUB drops for a subscriber that is full)."""
        self.send(topic_of(message), encode(message))

    def send(self, topic: bytes, payload: bytes) -> None:
        """As `take`, of a message that somebody else has written."""
        self._socket.send_multipart([topic, payload], zmq.DONTWAIT)

    def close(self) -> None:
        """Let what is queued leave, for half a second at most."""
        self._socket.close()
        self._context.term()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_endpoint(endpoint: str) -> None:
    """Only loopback and socket files are safe without keys. Raises `SettingsError`."""
    check_local(endpoint, f"publish {endpoint}", "anyone in reach could read along elsewhere")
