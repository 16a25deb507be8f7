"""What bytes hold: samples, rows of a sensor or lines of text, as blocks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from otolith.errors import SourceError, UsageError
from otolith.inference.card import Tokens
from otolith.inference.framing import Samples
from otolith.inference.tokenizer import Tokenizer
from otolith.sources.reading.lines import Lines
from otolith.sources.reading.reads import Read, Silence
from otolith.sources.reading.rows import BROKEN, TOO_LONG, Fault, Row, RowReader
from otolith.sources.source import Block, Spec, Wanted
from otolith.wire.block import mono

HALF_A_SAMPLE = "ended in the middle of a sample"
LINE_TOO_LONG = "a line is too long"
LINE_BROKEN = "a line is broken off"

Begins = Literal["with a line", "with a row", "anywhere"]


class Contents(Protocol):
    """Turns what was read into blocks, and keeps what is begun."""

    @property
    def nothing(self) -> Samples:
        """No samples, of the shape that its blocks have."""

    def push(self, read: Read) -> Iterator[Block]:
        """The blocks of some more bytes; of a silence, what it breaks off and why nothing is heard."""

    def end(self) -> Iterator[Block]:
        """What was begun, at the end of the input. Raises `SourceError` where that cannot be meant."""


class SampleContents:
    """Interleaved s16le samples; several channels are mixed to mono."""

    nothing: Samples = np.empty(0, np.int16)

    def __init__(self, channels: int) -> None:
        self._channels, self._sample_bytes = channels, 2 * channels
        self._begun = b""  # less than a sample of every channel

    def push(self, read: Read) -> Iterator[Block]:
        if isinstance(read, Silence):
            broken, self._begun = (self._begun, b"") if read.cuts else (b"", self._begun)
            reason = f"{read.reason}, {HALF_A_SAMPLE}" if broken else read.reason
            yield Block(self.nothing, time.time_ns(), int(bool(broken)), reason)
            return
        data = self._begun + read
        whole = len(data) // self._sample_bytes * self._sample_bytes
        self._begun = data[whole:]
        if whole:
            yield Block(self._mono(data[:whole]), time.time_ns())

    def end(self) -> Iterator[Block]:
        if self._begun:
            raise SourceError(
                f"pipe: {HALF_A_SAMPLE} ({len(self._begun)} of {self._sample_bytes} bytes); "
                f"write s16le with {self._channels} channel(s), or say ?channels=N"
            )
        yield from ()

    def _mono(self, data: bytes) -> NDArray[np.int16] | NDArray[np.float32]:
        samples = np.frombuffer(data, "<i2").astype(np.int16, copy=False)
        return samples if self._channels == 1 else mono(samples.reshape(-1, self._channels))


class RowContents:
    """Lines with a row each, with the time that they say themselves (`Block.stamps_s`).

    A line that is no row is declared lost. Where bytes begin anywhere (`begins` is "anywhere", as of a serial line),
    what stands before the first line's end is declared too, unless it shows itself whole, as a header or as JSON; where
    they begin "with a row", a first line that is neither row nor header raises `SourceError`.
    """

    def __init__(self, reader: RowReader, begins: Begins = "with a line") -> None:
        self._reader, self._begins = reader, begins
        self._lines = Lines()
        self.nothing: Samples = np.empty((0, len(reader.channels)), np.float32)

    def push(self, read: Read) -> Iterator[Block]:
        if isinstance(read, Silence):
            broken = self._lines.cut() if read.cuts else None
            if read.cuts:
                self._reader.begin()  # whoever comes next has columns of his own
            yield Block(self.nothing, time.time_ns(), int(bool(broken and broken.strip())), read.reason)
        else:
            yield from self.blocks_of(each for line in self._lines.push(read) for each in self._read(line))

    def end(self) -> Iterator[Block]:
        rest = self._lines.cut()
        if rest is not None:
            yield from self.blocks_of(self._read(rest))

    def blocks_of(self, found: Iterator[Row | Fault]) -> Iterator[Block]:
        """Rows that follow one another as one block, with what was lost before them."""
        now_ns = time.time_ns()
        rows: list[Row] = []
        lost, reason = 0, ""
        for each in found:
            if isinstance(each, Row):
                rows.append(each)
                continue
            if rows or (lost and each.reason != reason):
                yield self._block(rows, now_ns, lost, reason)
                rows, lost = [], 0
            lost, reason = lost + 1, each.reason
        if rows or lost:
            yield self._block(rows, now_ns, lost, reason)

    def _read(self, line: bytes | None) -> Iterator[Row | Fault]:
        if line is None:
            yield Fault(TOO_LONG)
        elif self._begins == "with a line":
            yield from self._reader.read(line)
        elif line.strip():
            yield from self._read_first(line.strip())
        if line is None or line.strip() or self._begins == "anywhere":
            self._begins = "with a line"

    def _read_first(self, line: bytes) -> list[Row | Fault]:
        found = [] if self._reader.is_header(line) else list(self._reader.read(line))
        is_whole = all(isinstance(each, Row) for each in found)
        if self._begins == "with a row" and not is_whole:
            raise SourceError(
                f"pipe: the first line is neither {len(self._reader.channels)} numbers nor a header that names "
                f"{', '.join(self._reader.channels)}; found {line[:80].decode('utf-8', 'replace')!r}"
            )
        if self._begins == "anywhere" and not (is_whole and line.startswith((b"{", b"["))) and found:
            return [Fault(BROKEN)]
        return found

    def _block(self, rows: list[Row], now_ns: int, lost: int, reason: str) -> Block:
        if not rows:
            return Block(self.nothing, now_ns, lost, reason)
        values = np.array([row.values for row in rows], np.float32)
        stamps_s = [row.time_s for row in rows]
        if all(stamp_s is None for stamp_s in stamps_s):
            return Block(values, now_ns, lost, reason if lost else "")
        stamps = np.array([np.nan if stamp_s is None else stamp_s for stamp_s in stamps_s])
        return Block(values, now_ns, lost, reason if lost else "", stamps_s=stamps)


def row_reader(spec: Spec, wanted: Wanted) -> RowReader:
    """Reads rows of the model's channels; `?columns=A,B,...` stands for a header. Raises `UsageError`."""
    channels, columns = [channel.name for channel in wanted.channels], spec.names("columns")
    if columns and (missing := sorted(set(channels) - set(columns))):
        raise UsageError(f"source {spec.text!r}: columns name no {', '.join(missing)}; the model needs it")
    return RowReader(channels, columns)


class TextContents:
    """Lines of UTF-8, each a block of tokens; bytes that are no UTF-8 become unknown tokens."""

    nothing: Samples = np.empty(0, np.int64)

    def __init__(self, tokens: Tokens) -> None:
        self._tokenizer = Tokenizer(tokens)
        self._lines = Lines()

    def push(self, read: Read) -> Iterator[Block]:
        if isinstance(read, Silence):
            broken = self._lines.cut() if read.cuts else None
            reason = f"{read.reason}, {LINE_BROKEN}" if broken else read.reason
            yield Block(self.nothing, time.time_ns(), int(broken is not None), reason)
        else:
            yield from map(self._block, self._lines.push(read))

    def end(self) -> Iterator[Block]:
        rest = self._lines.cut()
        if rest is not None:
            yield self._block(rest)

    def _block(self, line: bytes | None) -> Block:
        if line is None:
            return Block(self.nothing, time.time_ns(), 1, LINE_TOO_LONG)
        text = line.decode("utf-8", "replace")
        return Block(self._tokenizer.encode(text), time.time_ns(), ends=self._tokenizer.ends(text))
