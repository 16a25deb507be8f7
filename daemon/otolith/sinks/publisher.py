"""The publisher: messages over a ZeroMQ XPUB socket, on loopback or a socket file.

A subscriber that stalls loses messages and sees it in their sequence numbers; nobody else waits for it. What nobody has
subscribed to is numbered like the rest, and neither encoded nor sent.
"""

from __future__ import annotations

import os
import time
from typing import Self

import zmq

from otolith.errors import WireError
from otolith.sinks.echo import Echo
from otolith.wire.endpoint import bind, check_endpoint, hold
from otolith.wire.guard import Guard
from otolith.wire.messages import Message, encode, topic_of
from otolith.wire.visitors import Visitors

HELD_MESSAGES = 10_000
LINGER_MS = 500
RETURN_S = 0.25  # two tries at ZeroMQ's own pace
SUBSCRIBE, UNSUBSCRIBE = b"\1", b"\0"  # how the words of subscribers begin on an XPUB socket
NEWS_BYTES = 1024  # of one subscription: a topic is shorter, and ZeroMQ hangs up on who sends more
HELD_NEWS = 64  # of each subscriber; what it says beyond that waits with it, and not in our memory
NEWS_AT_ONCE = 1024  # from whom it never ends, it must not keep us
MOST_PREFIXES = 256  # asked about for each message; whoever wants more is given all, and ZeroMQ sorts it
NEWS_EVERY = 256  # messages, where all are wanted: those who go must not pile up


class Publisher:
    """Binds `endpoint`, for those alone whom a `guard` knows. Raises `WireError` where it is not ours to bind."""

    def __init__(self, endpoint: str, guard: Guard | None = None) -> None:
        check_publish(endpoint, is_guarded=guard is not None)
        self._lock = hold(endpoint, f"publish {endpoint}")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._watchman = None if guard is None else guard.watch(self._context)
        self._socket = self._context.socket(zmq.XPUB)
        self.visitors = Visitors(self._socket, self._context, f"publish {endpoint}")
        self._socket.setsockopt(zmq.SNDHWM, HELD_MESSAGES)
        self._socket.setsockopt(zmq.RCVHWM, HELD_NEWS)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._socket.setsockopt(zmq.MAXMSGSIZE, NEWS_BYTES)
        self._echo = Echo.where_watched(self._socket, self._context)
        self._subscribed: dict[bytes, None] = {}  # prefixes of topics that somebody has subscribed to
        self._wanted: tuple[bytes, ...] = ()  # those, or that of all where they are many
        self._untold = 0  # messages since we looked who came and went
        try:
            self.endpoint = bind(self._socket, endpoint, guard)
        except zmq.ZMQError as error:
            self.close()
            raise WireError(
                f"publish {endpoint}: cannot be bound ({error.strerror.lower()}); "
                "is another daemon running? choose another endpoint with --publish"
            ) from None

        self._bound_s = time.monotonic()

    def await_return(self) -> None:
        """Until whoever listened to the run before this one has had time to come back."""
        time.sleep(max(0.0, self.return_s))

    @property
    def return_s(self) -> float:
        """For how long they may still be on their way; less than 0 behind that."""
        return self._bound_s + RETURN_S - time.monotonic()

    def take(self, message: Message) -> None:
        """Send `[topic, payload]` if anyone wants it; never waits (XPUB drops for a subscriber that is full)."""
        topic = topic_of(message)
        if self._is_wanted(topic):
            self._socket.send_multipart([topic, encode(message)], zmq.DONTWAIT)

    def send(self, topic: bytes, payload: bytes) -> None:
        """As `take`, of a message that somebody else has written."""
        if self._is_wanted(topic):
            self._socket.send_multipart([topic, payload], zmq.DONTWAIT)

    def pulse(self) -> bool:
        """Once a second: do messages leave? Where nobody watches it is taken for granted."""
        return self._echo is None or self._echo.pulse()

    def _is_wanted(self, topic: bytes) -> bool:
        self._untold += 1
        if self._untold < NEWS_EVERY and topic.startswith(self._wanted):
            return True
        if int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:  # somebody came or went
            self._note_subscriptions()
        self._untold = 0
        return topic.startswith(self._wanted)

    def _note_subscriptions(self) -> None:
        for _ in range(NEWS_AT_ONCE):
            try:
                news = self._socket.recv(zmq.NOBLOCK)  # and no look at EVENTS: that takes in more each time
            except zmq.Again:
                break
            if news[:1] == SUBSCRIBE:
                self._subscribed[news[1:]] = None
            elif news[:1] == UNSUBSCRIBE:
                self._subscribed.pop(news[1:], None)
        self._wanted = tuple(self._subscribed) if len(self._subscribed) <= MOST_PREFIXES else (b"",)

    def close(self) -> None:
        """Let what is queued leave, for half a second at most."""
        if self._echo is not None:
            self._echo.close()
        self.visitors.close()
        self._socket.close()
        if self._watchman is not None:
            self._watchman.stop()
            self._watchman = None
        self._context.term()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_publish(endpoint: str, *, is_guarded: bool) -> None:
    """Only loopback and socket files are safe without keys. Raises `SettingsError`."""
    where = f"publish {endpoint}"
    check_endpoint(endpoint, where, "anyone in reach could read along elsewhere", is_guarded=is_guarded)
