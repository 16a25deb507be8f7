"""Generators that know every sample they sent: programs that push, and writers of the daemon's standard input."""

from __future__ import annotations

import time
from threading import Event, Lock, Thread
from typing import IO

import numpy as np
from numpy.typing import NDArray

from otolith import Producer
from tests.faults.oracle import RATE, Sent

BLOCK = 640
BACK_S = 20.0  # capture times lie so far back: the daemon would mend one ahead of its clock, or a minute behind


class Feed:
    """Pushes a stream at `pace` times real time, in a thread of its own, until it is closed; `pause` holds it.

    What `push` was given counts as sent, be it that the producer itself had to let it go: that becomes a gap too.
    """

    def __init__(self, ingest: str, name: str, pcm: NDArray[np.int16], pace: float = 1.0, rows: int = BLOCK) -> None:
        self.pace, self.rows = pace, rows
        self.sent = Sent(name, pcm)
        self.producer = Producer(ingest, stream=name, rate=RATE)
        self.error: Exception | None = None
        self._stop, self._may_push = Event(), Event()
        self._pushing = Lock()
        self._may_push.set()
        self._thread = Thread(target=self._run)

    @property
    def name(self) -> str:
        return self.sent.name

    def start(self) -> None:
        self.sent.began_ns = time.time_ns() - round(BACK_S * 1e9)
        self._thread.start()

    def pause(self) -> None:
        """From here on nothing is sent; `total` stands."""
        self._may_push.clear()
        with self._pushing:
            pass

    def resume(self) -> None:
        self._may_push.set()

    def close(self, linger_s: float = 2.0) -> None:
        self._stop.set()
        self._may_push.set()
        self._thread.join()
        self.producer.close(linger_s)

    def push(self) -> None:
        """One block, with the time at which its last sample was captured."""
        sent, start = self.sent, self.sent.total
        time_ns = sent.began_ns + round((start + self.rows) * 1e9 / RATE)
        self.producer.push(sent.samples(start, start + self.rows), time_ns=time_ns)
        sent.total += self.rows

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stop.is_set():
            self._may_push.wait()
            with self._pushing:
                if self._may_push.is_set() and not self._stop.is_set():
                    try:
                        self.push()
                    except Exception as error:  # noqa: BLE001 - whoever asks is told
                        self.error = error
                        return
            now_s = time.monotonic()
            due_s = max(due_s, now_s - 0.2) + self.rows / RATE / self.pace
            self._stop.wait(max(0.0, due_s - now_s))


def write_pcm(pipe: IO[bytes], sent: Sent, count: int) -> None:
    """`count` more samples into a pipe, as far as it takes them."""
    pipe.write(sent.samples(sent.total, sent.total + count).astype("<i2").tobytes())
    pipe.flush()
    sent.total += count
