"""A subscriber: a daemon's prediction stream as typed messages, in ten lines of anyone's program."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Self

import zmq

from otolith.errors import SettingsError, WireError
from otolith.settings import DEFAULT_ENDPOINT
from otolith.wire.keys import identify
from otolith.wire.messages import (
    KINDS,
    MESSAGE_BYTES,
    TOPIC_ROOT,
    AnyMessage,
    DetectionMessage,
    Kind,
    decode,
    kind_of,
)

# Tried at this pace for ever: with ZeroMQ's back-off a daemon's first second would pass unheard.
RECONNECT_MS = 50
RUNS_KEPT = 100_000  # kinds of streams of runs whose numbers are known: a daemon that starts again has new ones


class Subscriber:
    """Iterate over it. It connects by itself, again and again, so a daemon may start later.

    `stream`, `kind` and `label` choose what is given; `timeout_s` ends the iteration when nothing came for so long.
    `missed` counts messages of the chosen streams and kinds that were published but did not arrive: their sequence
    numbers tell. A daemon on another machine wants to know who asks: `keys` is a file of your secret key, `daemon_key`
    one of its public key. Raises `WireError` on an endpoint that is none, `SettingsError` on a file that is no key.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        stream: str | None = None,
        kind: Kind | Collection[Kind] | None = None,
        label: str | None = None,
        timeout_s: float | None = None,
        keys: str | Path | None = None,
        daemon_key: str | Path | None = None,
    ) -> None:
        self._kinds = KINDS if kind is None else (kind,) if isinstance(kind, str) else tuple(kind)
        self._label, self._timeout_s = label, timeout_s
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 10_000)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES)
        self._socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        try:
            identify(self._socket, keys, daemon_key, f"endpoint {endpoint}")
        except SettingsError:
            self.close()
            raise
        for topic in [f"{stream}/{name}" for name in self._kinds] if stream else [""]:
            self._socket.setsockopt(zmq.SUBSCRIBE, f"{TOPIC_ROOT}{topic}".encode())
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise WireError(
                f"endpoint {endpoint}: cannot be used ({error.strerror.lower()}); write tcp://HOST:PORT or ipc:///PATH"
            ) from None
        self._next_seq: dict[tuple[str, str, Kind], int] = {}
        self.missed = 0

    def receive(self, timeout_s: float | None = None) -> AnyMessage | None:
        """The next chosen message; None when `timeout_s` passed without one.

        Raises `WireError` on what is no message of ours.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            wait_ms = None if deadline is None else max(0, round((deadline - time.monotonic()) * 1000))
            if not self._socket.poll(wait_ms):
                return None
            message = decode(self._socket.recv_multipart())
            if message is not None and self._is_chosen(message):
                return message

    def _is_chosen(self, message: AnyMessage) -> bool:
        kind = kind_of(message)
        if kind not in self._kinds:
            return False
        run = (message.boot, message.stream, kind)
        self.missed += max(0, message.seq - self._next_seq.get(run, message.seq))
        self._next_seq[run] = message.seq + 1
        if len(self._next_seq) > RUNS_KEPT:
            del self._next_seq[next(iter(self._next_seq))]
        return self._label is None or (isinstance(message, DetectionMessage) and message.label == self._label)

    def close(self) -> None:
        """Let go of the connection."""
        self._socket.close()
        self._context.term()

    def __iter__(self) -> Iterator[AnyMessage]:
        while (message := self.receive(self._timeout_s)) is not None:
            yield message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
