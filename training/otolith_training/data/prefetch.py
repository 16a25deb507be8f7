"""Chunks composed in a thread of their own, a few ahead of the network; an error there is raised here."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from otolith_training.data.composer import Chunk


class Composer(Protocol):
    """Endless streams, chunk by chunk."""

    def next(self) -> Chunk:
        """The next chunk of all streams."""
        ...


@contextmanager
def prefetched(composer: Composer, ahead: int = 4) -> Iterator[Iterator[Chunk]]:
    """An endless iterator of the composer's chunks, in its order; the thread ends with the context."""
    chunks: queue.Queue[Chunk | BaseException] = queue.Queue(ahead)
    stop = threading.Event()

    def compose() -> None:
        while not stop.is_set():
            try:
                chunk: Chunk | BaseException = composer.next()
            except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits for chunks
                chunk = error
            while not stop.is_set():
                try:
                    chunks.put(chunk, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if isinstance(chunk, BaseException):
                return

    def take() -> Iterator[Chunk]:
        while True:
            chunk = chunks.get()
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    thread = threading.Thread(target=compose, name="composer", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stop.set()
        thread.join()
