"""Generators that know every sample they sent: programs that push, and writers of the daemon's standard input."""

from __future__ import annotations

import random
import socket
import time
from threading import Event, Lock, Thread
from typing import IO

import numpy as np
from numpy.typing import NDArray

from otolith import Producer
from otolith.wire.block import Header
from otolith.wire.datagram import encode_datagram
from tests.faults.oracle import RATE, Sent

BLOCK = 640
BACK_S = 20.0  # capture times lie so far back: the daemon would mend one ahead of its clock, or a minute behind


class Feed:
    """Pushes a stream at `pace` times real time, in a thread of its own, until it is closed; `pause` holds it.

    What it was given counts as sent, be it that the producer itself had to let it go: that becomes a gap too. Unless it
    is `timed`, its samples have the time of their arrival.
    """

    def __init__(self, name: str, pcm: NDArray[np.int16], *, timed: bool = True) -> None:
        self.pace, self._timed = 1.0, timed
        self.sent = Sent(name, pcm)
        self.error: Exception | None = None
        self._stop, self._may_push = Event(), Event()
        self._pushing = Lock()
        self._may_push.set()
        self._thread = Thread(target=self._run)

    @property
    def name(self) -> str:
        return self.sent.name

    @property
    def ahead_s(self) -> float:
        """How far its samples are ahead of real time since it started."""
        return self.sent.total / RATE - (time.time_ns() - self.sent.began_ns) / 1e9 + BACK_S

    def start(self) -> None:
        if self._timed:
            self.sent.began_ns = time.time_ns() - round(BACK_S * 1e9)
        self._thread.start()

    def pause(self) -> None:
        """From here on nothing is sent; `total` stands."""
        self._may_push.clear()
        with self._pushing:
            self.flush()

    def resume(self) -> None:
        self._may_push.set()

    def close(self) -> None:
        self._stop.set()
        self._may_push.set()
        if self._thread.is_alive():
            self._thread.join()

    def push(self, samples: NDArray[np.int16], time_ns: int | None) -> None:
        """Send a block, of which the last sample was captured at `time_ns`; it was counted already."""
        raise NotImplementedError

    def flush(self) -> None:
        """Until all has left that was pushed; not for ever, since there may be nobody to take it."""

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stop.is_set():
            self._may_push.wait()
            with self._pushing:
                if self._may_push.is_set() and not self._stop.is_set():
                    try:
                        self._push_next()
                    except Exception as error:  # noqa: BLE001 - whoever asks is told
                        self.error = error
                        return
            now_s = time.monotonic()
            due_s = max(due_s, now_s - 0.2) + BLOCK / RATE / self.pace
            self._stop.wait(max(0.0, due_s - now_s))

    def _push_next(self) -> None:
        sent, start = self.sent, self.sent.total
        sent.total += BLOCK
        time_ns = sent.began_ns + round(sent.total * 1e9 / RATE) if self._timed else None
        self.push(sent.samples(start, sent.total), time_ns)


class ProducerFeed(Feed):
    """By `otolith.Producer`."""

    def __init__(self, ingest: str, name: str, pcm: NDArray[np.int16], *, timed: bool = True) -> None:
        super().__init__(name, pcm, timed=timed)
        self.producer = Producer(ingest, stream=name, rate=RATE)
        self._lost = 0

    def lose(self, count: int) -> None:
        """So many samples go missing before the next; while it is held."""
        self.sent.total += count
        self._lost += count

    def push(self, samples: NDArray[np.int16], time_ns: int | None) -> None:
        self.producer.push(samples, time_ns=time_ns, lost=self._lost)
        self._lost = 0

    def flush(self) -> None:
        self.producer.wait(5.0)

    def close(self) -> None:
        super().close()
        self.producer.close(linger_s=0)


class DatagramFeed(Feed):
    """By datagrams, over a way that loses `loss` of them, doubles some and lets some come late, by a seeded draw."""

    def __init__(self, address: tuple[str, int], name: str, pcm: NDArray[np.int16], seed: int) -> None:
        super().__init__(name, pcm, timed=False)
        self.loss = 0.0
        self._address, self._draw = address, random.Random(seed)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._late: list[bytes] = []

    def push(self, samples: NDArray[np.int16], time_ns: int | None) -> None:
        assert time_ns is None, "a datagram has none"
        before = self.sent.total - len(samples)
        header = Header(boot="", seq=before, kind="audio", format="s16le", rate=RATE)
        data = encode_datagram(self.name, header, samples)
        draw = self._draw.random() if self.loss else 1.0
        if draw < self.loss:
            return
        if draw < self.loss + 0.1:
            self._late.append(data)
            return
        arriving = [data] * (2 if draw < self.loss + 0.2 else 1) + self._late
        self._late = []
        for each in arriving:
            self._socket.sendto(each, self._address)

    def close(self) -> None:
        super().close()
        self._socket.close()


def write_pcm(pipe: IO[bytes], sent: Sent, count: int) -> None:
    """`count` more samples into a pipe, as far as it takes them."""
    pipe.write(sent.samples(sent.total, sent.total + count).astype("<i2").tobytes())
    pipe.flush()
    sent.total += count
