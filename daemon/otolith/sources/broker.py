"""A subscription at an MQTT broker: its messages as they come, until the connection is lost."""

from __future__ import annotations

import secrets
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from otolith.errors import SourceError
from otolith.sources.login import Login
from otolith.sources.reading.reads import STOP_CHECK_S

MAX_MESSAGE_BYTES = 1 << 20
READ_BYTES = 1 << 16
KEEPALIVE_S = 5
PATIENCE_S = 5.0  # for a broker's answers
QOS = 1


@dataclass(frozen=True, slots=True)
class Address:
    """Where messages come from."""

    host: str
    port: int
    topic: str
    is_tls: bool = False
    authority: str = ""  # a file of certificates that are trusted; the system's without one

    def __str__(self) -> str:
        return f"mqtt{'s' if self.is_tls else ''}://{self.host}:{self.port}/{self.topic}"


class Client(paho.Client):
    """Reads no message over `MAX_MESSAGE_BYTES` (the library would take 256 MiB), and closes what cannot connect."""

    is_over = False
    tls: ssl.SSLContext | None = None

    def _create_socket_connection(self) -> socket.socket:
        plain = socket.create_connection((self._host, self._port), PATIENCE_S)
        return plain if self.tls is None else self.tls.wrap_socket(plain, server_hostname=self._host)

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > MAX_MESSAGE_BYTES:
            self.is_over = True
            raise ConnectionAbortedError
        received: bytes = super()._sock_recv(min(bufsize, READ_BYTES))
        return received


class Subscription:
    """Connected and subscribed. Raises `SourceError` where that cannot be."""

    def __init__(self, address: Address, login: Login | None) -> None:
        self._address = address
        self._held: deque[bytes] = deque()
        self._fault, self._is_subscribed = "", False
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            f"otolith-{secrets.token_hex(8)}",
            clean_session=True,
            reconnect_on_failure=False,
        )
        self._client.on_connect, self._client.on_subscribe = self._hear_connect, self._hear_subscribe
        self._client.on_message = self._hear_message
        if login is not None:
            self._client.username_pw_set(login.user, login.password)
        try:
            self._connect()
            self._await_subscription()
        except SourceError:
            self.close()
            raise

    def messages(self, stop: Event) -> Iterator[bytes | None]:
        """Payloads as they come; None a few times a second while none does. Raises `SourceError` once it is lost."""
        try:
            while not stop.is_set():
                if not self._held:
                    yield None
                lost = self._try_turn()
                while self._held:
                    yield self._held.popleft()
                if lost is not None:
                    raise lost
        finally:
            self.close()

    def close(self) -> None:
        """Say goodbye, if anybody listens."""
        client = self._client
        client.on_connect = client.on_subscribe = client.on_message = None  # or its files stay open: a circle
        client.disconnect()

    def _connect(self) -> None:
        address, client = self._address, self._client
        try:
            if address.is_tls:
                client.tls = ssl.create_default_context(cafile=address.authority or None)
            client.connect(address.host, address.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:  # those of ssl are OSErrors; an impossible host or port is a ValueError
            raise SourceError(f"{address}: cannot be reached ({_why(error)}); is a broker running there?") from None

    def _await_subscription(self) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not self._is_subscribed:
            self._turn(STOP_CHECK_S)
            if time.monotonic() > deadline_s:
                raise SourceError(f"{self._address}: does not answer; is that an MQTT broker?")

    def _try_turn(self) -> SourceError | None:
        """As `_turn`; what was taken before the connection was lost is still to be told."""
        try:
            self._turn(STOP_CHECK_S)
        except SourceError as error:
            return error
        return None

    def _turn(self, timeout_s: float) -> None:
        """Read and write what there is."""
        client, connection = self._client, self._client.socket()
        if connection is not None:
            poller = select.poll()  # the library's own loop knows no file beyond the 1,024th
            poller.register(connection, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
            poller.poll(timeout_s * 1000)
            client.loop_read()
            while client.socket() is connection and isinstance(connection, ssl.SSLSocket) and connection.pending():
                client.loop_read()
            if client.want_write():
                client.loop_write()
            client.loop_misc()
        if client.is_over:
            raise SourceError(f"{self._address}: a message is over {MAX_MESSAGE_BYTES} bytes; send fewer rows in each")
        if self._fault or client.socket() is None:
            raise SourceError(f"{self._address}: {self._fault or 'the connection was lost'}")

    def _hear_connect(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._fault = (
                f"the broker refuses us ({str(reason).lower()}); a file with user and password goes in ?login="
            )
        else:
            client.subscribe(self._address.topic, QOS)

    def _hear_subscribe(self, _client: paho.Client, _data: Any, _id: int, reasons: Any, _properties: Any) -> None:
        self._is_subscribed = True
        if any(reason.is_failure for reason in reasons):
            self._fault = "the broker does not let us subscribe to that"

    def _hear_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if not message.retain:  # a retained one is of some earlier time
            self._held.append(bytes(message.payload))


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
