"""Standard input as a source: raw little-endian 16-bit samples, sensor rows as lines of CSV, or lines of text.

A pipe is not live: when the daemon is late the writer waits, so nothing is lost between the two.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from threading import Event

import numpy as np
from numpy.typing import NDArray

from otolith.errors import SourceError
from otolith.inference.card import Tokens
from otolith.inference.tokenizer import Tokenizer
from otolith.sources.source import Block, Source, Spec, Wanted
from otolith.wire.block import mono

STDIN = 0
READ_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 16
STOP_CHECK_MS = 200
MALFORMED = "malformed row"


def open_pipe(spec: Spec, wanted: Wanted, fd: int = STDIN) -> Source:
    """`pipe:[?rate=HZ&channels=N]` for sound (the model's rate and mono unless told), `pipe:` for rows and for text."""
    if wanted.kind == "audio":
        spec.allow("rate", "channels")
        rate = spec.whole("rate", round(wanted.sample_rate), 1, 1_000_000)
        return SamplePipe(fd, rate, spec.whole("channels", 1, 1, 64))
    spec.allow()
    if isinstance(wanted.tokens, Tokens):
        return TextPipe(fd, wanted.tokens, wanted.sample_rate)
    return RowPipe(fd, tuple(channel.name for channel in wanted.channels), wanted.sample_rate)


class SamplePipe:
    """Interleaved s16le samples; several channels are mixed to mono."""

    live = False

    def __init__(self, fd: int, rate: float, channels: int) -> None:
        self.rate = rate
        self._fd, self._channels = fd, channels

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`. Raises `SourceError` where the pipe ends in the middle of a sample."""
        sample_bytes = 2 * self._channels
        carry = b""
        for data in _reads(self._fd, stop):
            data = carry + data
            whole = len(data) // sample_bytes * sample_bytes
            carry = data[whole:]
            if whole:
                yield Block(self._mono(data[:whole]), time.time_ns())
        if carry and not stop.is_set():
            raise SourceError(
                f"pipe: ended in the middle of a sample ({len(carry)} of {sample_bytes} bytes); "
                f"write s16le with {self._channels} channel(s), or say ?channels=N"
            )

    def _mono(self, data: bytes) -> NDArray[np.int16] | NDArray[np.float32]:
        samples = np.frombuffer(data, "<i2").astype(np.int16, copy=False)
        return samples if self._channels == 1 else mono(samples.reshape(-1, self._channels))


class RowPipe:
    """Lines of CSV, one row each: the model's channels in order, or any columns under a header that names them."""

    live = False

    def __init__(self, fd: int, channels: tuple[str, ...], rate: float) -> None:
        self.rate = rate
        self._fd, self._channels = fd, channels
        self._columns: list[int] | None = None  # where each channel stands in a line

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`. A line that is no row is declared lost; the pipe reads on."""
        carry = b""
        for data in _reads(self._fd, stop):
            *lines, carry = (carry + data).split(b"\n")
            if len(carry) > MAX_LINE_BYTES:
                raise SourceError(f"pipe: a line is over {MAX_LINE_BYTES} bytes; write one row a line")
            yield from self._rows([line for line in lines if line.strip()])
        if carry.strip():
            yield from self._rows([carry])

    def _rows(self, lines: list[bytes]) -> Iterator[Block]:
        if lines and self._columns is None:
            lines = self._read_header(lines)
        good: list[NDArray[np.float32]] = []
        lost = 0
        for line in lines:
            row = self._row(line)
            if row is None:
                if good:
                    yield Block(np.stack(good), time.time_ns(), lost, MALFORMED if lost else "")
                    good, lost = [], 0
                lost += 1
            else:
                good.append(row)
        if good or lost:
            rows = np.stack(good) if good else np.empty((0, len(self._channels)), np.float32)
            yield Block(rows, time.time_ns(), lost, MALFORMED if lost else "")

    def _read_header(self, lines: list[bytes]) -> list[bytes]:
        """Take the first line as a header if it names the channels, as a row if it is numbers."""
        fields = [field.strip() for field in lines[0].decode("utf-8", "replace").split(",")]
        if set(self._channels) <= set(fields):
            self._columns = [fields.index(name) for name in self._channels]
            return lines[1:]
        self._columns = list(range(len(self._channels)))
        if len(fields) != len(self._channels) or self._row(lines[0]) is None:
            raise SourceError(
                f"pipe: the first line is neither {len(self._channels)} numbers nor a header that names "
                f"{', '.join(self._channels)}; found {lines[0][:80].decode('utf-8', 'replace')!r}"
            )
        return lines

    def _row(self, line: bytes) -> NDArray[np.float32] | None:
        fields = line.split(b",")
        try:
            row = np.array([float(fields[column]) for column in self._columns or ()], np.float32)
        except (ValueError, IndexError):
            return None
        return row if np.isfinite(row).all() else None


class TextPipe:
    """Lines of UTF-8, each a block of tokens; bytes that are no UTF-8 become unknown tokens."""

    live = False

    def __init__(self, fd: int, tokens: Tokens, rate: float) -> None:
        self.rate = rate
        self._fd, self._tokenizer = fd, Tokenizer(tokens)

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`. Raises `SourceError` on a line that does not end."""
        carry = b""
        for data in _reads(self._fd, stop):
            *lines, carry = (carry + data).split(b"\n")
            if len(carry) > MAX_LINE_BYTES:
                raise SourceError(f"pipe: a line is over {MAX_LINE_BYTES} bytes; write one utterance a line")
            yield from map(self._block, lines)
        if carry:
            yield self._block(carry)

    def _block(self, line: bytes) -> Block:
        text = line.decode("utf-8", "replace")
        return Block(self._tokenizer.encode(text), time.time_ns(), ends=self._tokenizer.ends(text))


def _reads(fd: int, stop: Event) -> Iterator[bytes]:
    """Whatever the pipe holds, as it comes, until its writer closes it or `stop` is set."""
    poller = select.poll()
    poller.register(fd, select.POLLIN | select.POLLHUP)
    while not stop.is_set():
        if poller.poll(STOP_CHECK_MS):
            data = os.read(fd, READ_BYTES)
            if not data:
                return
            yield data
