"""A producer: live samples of a program or a device, pushed to a daemon as one stream.

It never waits for the daemon: what cannot leave is held for a moment, then the oldest is lost and the daemon told how
many samples that was.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import zmq
from numpy.typing import ArrayLike, NDArray

from otolith.errors import SettingsError, WireError
from otolith.inference.framing import Samples
from otolith.settings import DEFAULT_INGEST
from otolith.wire.block import (
    DTYPES,
    MAX_BLOCK_BYTES,
    Answer,
    Format,
    Header,
    Kind,
    RefusedError,
    decode_answer,
    decode_block,
    encode_block,
)
from otolith.wire.keys import identify

HELD_S = 2.0
LINGER_S = 2.0
PATIENCE_S = 5.0
FORGIVEN_S = 2.5  # a daemon that goes on refusing says so every second
RECONNECT_MS = 100
GONE_S = 10  # a machine that says nothing for so long
QUEUED_BLOCKS = 8  # in ZeroMQ's hands; the rest waits in ours, where the oldest can still be let go
KERNEL_BYTES = 1 << 16
MAX_ANSWER_BYTES = 1 << 16  # of what a daemon answers


class Producer:
    """One stream, from its first `push` to `close`. It connects by itself, so a daemon may start later or again.

    `rate` is in Hz, of samples or rows; `channels` how many columns a block has. `held_s` is how much is held while the
    daemon is away. `lost` counts samples that were let go, `behind` is True once the daemon told that it was too slow,
    `is_welcome` once it took a block. Programs with many producers share one `context`. A daemon on another machine
    wants to know who sends: `keys` is a file of your secret key, `daemon_key` one of its public key. Raises `WireError`
    on an endpoint that is none, and on a stream that no daemon could take; `SettingsError` on a file that is no key.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_INGEST,
        *,
        stream: str,
        rate: float,
        kind: Kind = "audio",
        channels: int = 1,
        held_s: float = HELD_S,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        keys: str | Path | None = None,
        daemon_key: str | Path | None = None,
    ) -> None:
        self.endpoint, self.stream, self.rate = endpoint, stream, rate
        sample_format: Format = "s16le" if kind == "audio" else "f32le"
        header = Header(boot=secrets.token_hex(8), seq=0, kind=kind, format=sample_format, rate=rate, channels=channels)
        decode_block(encode_block(stream, header, np.empty(0)))  # the daemon's own check, before anything is sent
        self._header = header
        self._held: deque[tuple[Header, NDArray[Any]]] = deque()
        self._held_samples, self._bound = 0, max(1, round(held_s * rate))
        self._seq = 0
        self._refused_s = self._told_s = 0.0  # refused since when, told so when last
        self.lost = 0
        self.behind = False
        self.is_welcome = False
        self._is_over = self._is_refused = False
        shared = context or zmq.Context()
        self._own_context = None if context else shared
        self._socket = shared.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_ANSWER_BYTES)
        try:
            identify(self._socket, keys, daemon_key, f"endpoint {endpoint}")
        except SettingsError:
            self.close()
            raise
        self._connect(endpoint)

    def push(self, samples: ArrayLike, *, time_ns: int | None = None, lost: int = 0) -> None:
        """Send samples `(n,)` or `(n, channels)`, int16 or -1..1; for sensors rows in the units of the model's card.

        `time_ns` is the UTC capture time of the last of them, now without one; `lost` samples went missing before them.
        Never waits. Raises `RefusedError` where the daemon told that it does not take them: at once where it never
        will, after five seconds where it may later.
        """
        block = self._shaped(samples)
        self._seq += lost
        now_ns = time.time_ns() if time_ns is None else time_ns
        length = max(1, MAX_BLOCK_BYTES // (4 * self._header.channels))
        for start in range(0, max(1, len(block)), length):
            piece = block[start : start + length]
            behind_ns = round((len(block) - start - len(piece)) / self._header.rate * 1e9)
            self._hold(piece, now_ns - behind_ns)
        self._send()
        self._read_answers()

    @property
    def pushed(self) -> int:
        """Samples (or rows) that were pushed or told as lost, so far."""
        return self._seq

    def wait(self, timeout_s: float) -> bool:
        """Until all that was pushed has left, or the time is over; whether it has. For input that can wait."""
        deadline_s = time.monotonic() + timeout_s
        while self._held and (left_s := deadline_s - time.monotonic()) > 0:
            self._socket.poll(max(1, round(min(left_s, 0.1) * 1000)), zmq.POLLOUT)
            self._send()
            self._read_answers()
        return not self._held

    def close(self, linger_s: float = LINGER_S) -> bool:
        """Say goodbye, and wait up to `linger_s` for the daemon to say it took all; whether it did."""
        if self._socket.closed:
            return self._is_over
        try:
            if self._seq and linger_s > 0 and not self._is_refused:
                self._say_goodbye(linger_s)
        finally:
            self._socket.close(linger=0)
            if self._own_context is not None:
                self._own_context.term()
        return self._is_over

    def _say_goodbye(self, linger_s: float) -> None:
        deadline_s = time.monotonic() + linger_s
        self._hold(self._shaped(np.empty((0, self._header.channels), np.int16)), 0, end=True)
        self.wait(linger_s)
        while not self._is_over and (left_s := deadline_s - time.monotonic()) > 0:
            if self._socket.poll(round(left_s * 1000) + 1):
                self._read_answers()

    def _connect(self, endpoint: str) -> None:
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.IMMEDIATE, 1),  # nothing is queued for a daemon that is not there
            (zmq.SNDHWM, QUEUED_BLOCKS),
            (zmq.SNDBUF, KERNEL_BYTES),
            (zmq.RECONNECT_IVL, RECONNECT_MS),
            # no HEARTBEAT_IVL: of a daemon that was held up, libzmq 4.3.5 aborts at a ping behind a full queue
            (zmq.TCP_MAXRT, GONE_S * 1000),  # whose machine is gone is noticed: while something is on its way ...
            (zmq.TCP_KEEPALIVE, 1),  # ... and while nothing is
            (zmq.TCP_KEEPALIVE_IDLE, GONE_S // 2),
            (zmq.TCP_KEEPALIVE_INTVL, 1),
            (zmq.TCP_KEEPALIVE_CNT, GONE_S // 2),
            (zmq.IPV6, int("[" in endpoint)),
        ):
            self._socket.setsockopt(option, value)
        try:
            self._socket.connect(endpoint.removeprefix("zmq+"))
        except zmq.ZMQError as error:
            self.close()
            raise WireError(
                f"endpoint {endpoint}: cannot be used ({error.strerror.lower()}); "
                "write zmq+tcp://HOST:PORT or zmq+ipc:///PATH"
            ) from None

    def _shaped(self, samples: ArrayLike) -> Samples:
        """As they travel: int16 or float32, `(n, channels)`. Raises `WireError` on another shape."""
        block, channels = np.asarray(samples), self._header.channels
        if self._header.kind == "audio" and block.dtype.kind != "f" and block.dtype != np.int16:
            raise WireError(f"stream {self.stream!r}: samples of type {block.dtype}; push int16, or floats in -1..1")
        if self._header.kind == "sensor" or block.dtype != np.int16:
            block = block.astype(np.float32)
        if block.ndim == 1 and channels == 1:
            block = block[:, None]
        if block.ndim != 2 or block.shape[1] != channels:
            raise WireError(f"stream {self.stream!r}: a block of shape {block.shape}; push (n, {channels})")
        return block

    def _hold(self, block: Samples, time_ns: int, end: bool = False) -> None:
        """Put a block behind those that wait; the oldest go where they are too many, and their seq with them."""
        sample_format: Format = "s16le" if block.dtype == np.int16 else "f32le"
        changes = {"seq": self._seq, "format": sample_format, "time_ns": time_ns, "end": end}
        self._held.append((msgspec.structs.replace(self._header, **changes), block))
        self._seq += len(block)
        self._held_samples += len(block)
        while self._held_samples > self._bound and len(self._held) > 1:
            _, oldest = self._held.popleft()
            self._held_samples -= len(oldest)
            self.lost += len(oldest)

    def _send(self) -> None:
        while self._held:
            header, block = self._held[0]
            parts = encode_block(self.stream, header, block.astype(DTYPES[header.format], copy=False))
            try:
                self._socket.send_multipart(parts, zmq.NOBLOCK)
            except zmq.Again:
                return
            self._held.popleft()
            self._held_samples -= len(block)

    def _read_answers(self) -> None:
        while self._socket.poll(0):
            answer = decode_answer(self._socket.recv_multipart())
            if answer.kind == "refused":
                self._be_refused(answer)
            elif answer.kind == "behind":
                self.behind = True
            else:
                self.is_welcome = True
                self._is_over = answer.kind == "goodbye"

    def _be_refused(self, answer: Answer) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s > FORGIVEN_S:
            self._refused_s = now_s
        self._told_s = now_s
        if not answer.passing or now_s - self._refused_s > PATIENCE_S:
            self._is_refused = True
            reason: Any = answer.reason  # of a later daemon it may be a new one
            raise RefusedError(
                reason, f"stream {self.stream!r}: the daemon refuses it ({answer.reason}): {answer.text}"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
