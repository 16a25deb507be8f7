"""Doors: the sockets that blocks from the network come in by, one kind a class; nothing here ever waits.

What comes is taken as it is; `decode` is where it becomes a block or is refused.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

import zmq

from otolith.errors import SettingsError, WireError
from otolith.inference.framing import Samples
from otolith.wire.block import (
    MAX_BLOCK_BYTES,
    MAX_NAME_BYTES,
    Answer,
    Header,
    RefusedError,
    decode_block,
    encode_answer,
)
from otolith.wire.datagram import MAX_DATAGRAM_BYTES, SEQ_RANGE, decode_datagram, name_in
from otolith.wire.endpoint import bind, check_endpoint, hold
from otolith.wire.guard import Guard
from otolith.wire.line import Standing
from otolith.wire.visitors import PART_BYTES, Visitors

ZMQ_PREFIX = "zmq+"
MAX_MESSAGE_BYTES = 4 * MAX_BLOCK_BYTES  # ZeroMQ hangs up on a larger part; up to it we refuse, and tell why
HELD_BLOCKS = 32  # waiting for us, for each producer; behind that, its own queue fills
HELD_ANSWERS = 16
KERNEL_BYTES = 1 << 16  # of a connection: what waits in the kernel is as late as what waits in a queue
DATAGRAM_BYTES = 1 << 22  # asked for; the kernel gives what net.core.rmem_max allows
HANDSHAKE_MS = 2000
KEEPALIVE_S = 2
FROM = int(zmq.SRCFD)
SO_RXQ_OVFL = 40  # Linux: each datagram tells how many the kernel dropped before it

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Door(Protocol):
    """One bound endpoint. `wrap` is what `seq` counts modulo, 0 without end."""

    endpoint: str
    wrap: int

    @property
    def waitable(self) -> zmq.Socket[bytes] | int:
        """What a poller waits on."""

    def drain(self, bound: int) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        """What is there, up to `bound` pieces: sender, parts."""

    def stream_of(self, parts: Sequence[bytes]) -> bytes:
        """The name that stands there, unchecked; for whoever only hands the parts on."""

    def decode(self, sender: bytes, parts: Sequence[bytes]) -> tuple[str, Header, Samples]:
        """Raises `RefusedError`."""

    def standing(self, parts: Sequence[bytes]) -> Standing | None:
        """How far the stream had come before it was handed to us, where somebody knows."""

    def answer(self, sender: bytes, stream: bytes, answer: Answer) -> None:
        """Tell a sender, if it can be told without waiting."""

    def pass_on(self, sender: bytes, parts: Sequence[bytes]) -> None:
        """Send somebody else's answer."""

    def close(self) -> None:
        """Let go of the endpoint."""


class ZmqDoor:
    """A ROUTER: it takes from its producers by turns, so that a flood from one holds up none, and can answer each."""

    wrap = 0

    def __init__(self, endpoint: str, context: zmq.Context[zmq.Socket[bytes]], guard: Guard | None = None) -> None:
        address = endpoint.removeprefix(ZMQ_PREFIX)
        self._lock = hold(address, f"ingest {endpoint}")
        self.waitable = context.socket(zmq.ROUTER)
        self.visitors = Visitors(self.waitable, context, f"ingest {endpoint}")
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.RCVHWM, HELD_BLOCKS),
            (zmq.SNDHWM, HELD_ANSWERS),
            (zmq.RCVBUF, KERNEL_BYTES),
            (zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            # no HEARTBEAT_IVL: libzmq 4.3.5 aborts where one is due to a peer that filled its queue and went
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, KEEPALIVE_S),
            (zmq.TCP_KEEPALIVE_INTVL, KEEPALIVE_S),
            (zmq.TCP_KEEPALIVE_CNT, 3),
            (zmq.BACKLOG, 1024),  # a building's producers come back at once
        ):
            self.waitable.setsockopt(option, value)
        try:
            self.endpoint = ZMQ_PREFIX + bind(self.waitable, address, guard)
        except zmq.ZMQError as error:
            self.close()
            raise _cannot_bind(endpoint, error.strerror) from None

    def drain(self, bound: int) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        receive = self.waitable.recv
        for _ in range(bound):
            try:
                part = receive(
                    zmq.NOBLOCK, copy=False
                )  # a frame knows whether more follow: asking the socket is dearer
            except zmq.Again:
                return
            sender = part.bytes
            parts: list[bytes] = []
            size = 0
            while part.more:  # all parts of a message are there at once
                part = receive(copy=False)
                size += len(part) + PART_BYTES
                if len(parts) < 4:  # three are a block; of more, it is enough to know that there were
                    parts.append(part.bytes)
            self.visitors.delivered[part.get(FROM)] += size
            yield sender, parts

    def stream_of(self, parts: Sequence[bytes]) -> bytes:
        return parts[0] if parts else b""

    def decode(self, sender: bytes, parts: Sequence[bytes]) -> tuple[str, Header, Samples]:  # noqa: ARG002
        return decode_block(parts)

    def standing(self, parts: Sequence[bytes]) -> Standing | None:  # noqa: ARG002
        return None

    def answer(self, sender: bytes, stream: bytes, answer: Answer) -> None:
        self.pass_on(sender, [stream[:MAX_NAME_BYTES], encode_answer(answer)])

    def pass_on(self, sender: bytes, parts: Sequence[bytes]) -> None:
        try:
            self.waitable.send_multipart([sender, *parts], zmq.NOBLOCK)
        except zmq.ZMQError:  # it has gone, or reads no answers
            return

    def close(self) -> None:
        self.visitors.close()
        self.waitable.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class UdpDoor:
    """A datagram socket, for networks that are allowed. A sender is never answered: its address may be forged.

    `faults["kernel"]` counts datagrams that the kernel dropped because we were late.
    """

    wrap = SEQ_RANGE

    def __init__(self, endpoint: str, allow: Sequence[str], faults: Counter[str]) -> None:
        host, port = udp_address(endpoint)
        self._allowed = Allowed(allow, f"ingest {endpoint}")
        self._faults = faults
        self._dropped = 0
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DATAGRAM_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise _cannot_bind(endpoint, error.strerror or str(error)) from None
        self.endpoint = f"udp://{f'[{host}]' if ':' in host else host}:{self._socket.getsockname()[1]}"

    @property
    def waitable(self) -> int:
        return self._socket.fileno()

    def drain(self, bound: int) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        for _ in range(bound):
            try:
                data, notes, _flags, address = self._socket.recvmsg(MAX_DATAGRAM_BYTES + 1, socket.CMSG_SPACE(4))
            except BlockingIOError:
                return
            for level, kind, value in notes:
                if (level, kind) == (socket.SOL_SOCKET, SO_RXQ_OVFL):
                    self._count_dropped(struct.unpack("=I", value)[0])
            yield f"{address[0]}|{address[1]}".encode(), (data,)

    def stream_of(self, parts: Sequence[bytes]) -> bytes:
        return name_in(parts[0])

    def decode(self, sender: bytes, parts: Sequence[bytes]) -> tuple[str, Header, Samples]:
        return decode_allowed(sender, parts[0], self._allowed)

    def standing(self, parts: Sequence[bytes]) -> Standing | None:  # noqa: ARG002
        return None

    def answer(self, sender: bytes, stream: bytes, answer: Answer) -> None:
        pass

    def pass_on(self, sender: bytes, parts: Sequence[bytes]) -> None:
        pass

    def close(self) -> None:
        self._socket.close()

    def _count_dropped(self, dropped: int) -> None:
        self._faults["kernel"] += (dropped - self._dropped) % (1 << 32)
        self._dropped = dropped


class Allowed:
    """Whose datagrams are taken: those of our own machine and of the networks in `allow`. Raises `SettingsError`."""

    def __init__(self, allow: Sequence[str], where: str) -> None:
        self._networks = allowed_networks(allow, where)
        self.has = lru_cache(maxsize=4096)(self._find)

    def _find(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        return address.is_loopback or any(address in network for network in self._networks)


def decode_allowed(sender: bytes, data: bytes, allowed: Allowed) -> tuple[str, Header, Samples]:
    """A datagram of somebody who may send; `sender` is `address|port`. Raises `RefusedError`."""
    host = sender.decode()
    if not allowed.has(host.partition("|")[0]):
        raise RefusedError("foreign", f"{host}: not of a network in allow")
    return decode_datagram(data, host)


def open_door(
    endpoint: str,
    allow: Sequence[str],
    context: zmq.Context[zmq.Socket[bytes]],
    faults: Counter[str],
    guard: Guard | None = None,
) -> Door:
    """A public endpoint, bound; of ZeroMQ's, for those alone whom a `guard` knows. Raises `WireError`."""
    return UdpDoor(endpoint, allow, faults) if endpoint.startswith("udp://") else ZmqDoor(endpoint, context, guard)


def visitors_of(doors: Iterable[Door]) -> list[Visitors]:
    """Who is connected, of those doors to which one connects."""
    return [door.visitors for door in doors if isinstance(door, ZmqDoor)]


def check_door(endpoint: str, allow: Sequence[str], *, is_guarded: bool = False) -> None:
    """Whether an endpoint may be opened. Raises `SettingsError`."""
    where = f"ingest {endpoint}"
    allowed_networks(allow, where)
    if endpoint.startswith((ZMQ_PREFIX + "tcp://", ZMQ_PREFIX + "ipc://")):
        address = endpoint.removeprefix(ZMQ_PREFIX)
        check_endpoint(address, where, "anyone in reach could send elsewhere", is_guarded=is_guarded)
    elif endpoint.startswith("udp://"):
        host, _ = udp_address(endpoint)
        if not ipaddress.ip_address(host).is_loopback and not allow:
            raise SettingsError(f'{where}: open to a network; name those it serves, as in allow = ["192.168.1.0/24"]')
    else:
        raise SettingsError(f"{where}: write zmq+tcp://127.0.0.1:PORT, zmq+ipc:///PATH or udp://ADDRESS:PORT")


def udp_address(endpoint: str) -> tuple[str, int]:
    """`udp://ADDRESS:PORT`, taken apart. Raises `SettingsError`."""
    try:
        parts = urlsplit(endpoint)
        host = str(ipaddress.ip_address("127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""))
        port = parts.port
    except ValueError:
        host, port = "", None
    if not host or port is None or endpoint.rstrip("0123456789")[-1] != ":":
        raise SettingsError(f"ingest {endpoint}: write udp://ADDRESS:PORT, an IP address and a port") from None
    return host, port


def allowed_networks(allow: Sequence[str], where: str) -> list[Network]:
    """Networks as written in the settings. Raises `SettingsError`."""
    networks: list[Network] = []
    for text in allow:
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise SettingsError(f"{where}: allow: {error}; write for example 192.168.1.0/24") from None
    return networks


def _cannot_bind(endpoint: str, why: str) -> WireError:
    return WireError(
        f"ingest {endpoint}: cannot be bound ({why.lower()}); "
        "is another daemon running? choose another endpoint in [ingest]"
    )
