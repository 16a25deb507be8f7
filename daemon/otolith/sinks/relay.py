"""The relay: a worker's messages to the daemon that publishes them, each with how far its stream stands behind it."""

from __future__ import annotations

from contextlib import suppress

import zmq

from otolith.wire.line import PULSE, Ledger, Line
from otolith.wire.messages import Message, encode, topic_of

HELD_MESSAGES = 10_000
LINGER_MS = 500


class Relay:
    """Connects to the daemon's end of `line`."""

    def __init__(self, line: Line, ledger: Ledger) -> None:
        self.endpoint, self._ledger, self._worker = line.messages, ledger, line.worker
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, HELD_MESSAGES)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._socket.connect(self.endpoint)

    def take(self, message: Message) -> None:
        """Send it; never waits. Where the daemon is that far behind, subscribers miss its number."""
        parts = [topic_of(message), encode(message), self._ledger.after(message)]
        try:
            self._socket.send_multipart(parts, zmq.DONTWAIT)
        except zmq.Again:
            return

    def pulse(self) -> bool:
        """Tell the daemon, the way that messages go, that they do; whether it hears is the daemon's to judge."""
        with suppress(zmq.Again):
            self._socket.send_multipart([PULSE, b"%d" % self._worker, b""], zmq.DONTWAIT)
        return True

    def close(self) -> None:
        """Let what is queued leave, for half a second at most."""
        self._socket.close()
        self._context.term()
