"""Pipes as sources: raw little-endian 16-bit samples, sensor rows as lines of CSV or JSON, or lines of text.

A pipe is not live: when the daemon is late the writer waits, so nothing is lost between the two. Standard input ends
with its writer; a FIFO waits for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from threading import Event

from otolith.inference.card import Tokens
from otolith.sources.fifo import Fifo
from otolith.sources.reading.contents import Contents, RowContents, SampleContents, TextContents, row_reader
from otolith.sources.reading.reads import Endless, Patience, read_until_closed
from otolith.sources.reading.timed import Timed
from otolith.sources.reading.timeline import Timeline
from otolith.sources.returning import Returning
from otolith.sources.source import Block, Source, Spec, Wanted

STDIN = 0


def open_pipe(spec: Spec, wanted: Wanted, fd: int = STDIN, *, waits: bool = False) -> Source:
    """`pipe:[PATH][?rate=HZ&channels=N]` for sound (the model's rate and mono unless told), `pipe:[PATH][?columns=A,B]`
    for rows, `pipe:[PATH]` for text; PATH is that of a FIFO, which may be missing at first with `waits`.
    """
    rate, make = plan_pipe(spec, wanted)
    patience = partial(_patience, wanted)
    if spec.target:
        path, nothing = spec.target, make().nothing
        source: Source = Returning(
            lambda: NamedPipe(Fifo(path, patience()), make(), rate),
            rate,
            waits=waits,
            live=False,
            counts=_never,
            nothing=nothing,
        )
    else:
        source = StandardInput(fd, make(), rate, patience())
    return Timed(source, Timeline(wanted.sample_rate), spec.text) if wanted.kind == "sensor" else source


def plan_pipe(spec: Spec, wanted: Wanted) -> tuple[float, Callable[[], Contents]]:
    """What comes out of the pipe: its rate, and how its bytes are read. Raises `UsageError`."""
    if wanted.kind == "audio":
        spec.allow("rate", "channels")
        rate = spec.whole("rate", round(wanted.sample_rate), 1, 1_000_000)
        return rate, partial(SampleContents, spec.whole("channels", 1, 1, 64))
    if isinstance(wanted.tokens, Tokens):
        spec.allow()
        return wanted.sample_rate, partial(TextContents, wanted.tokens)
    spec.allow("columns")
    reader = row_reader(spec, wanted)
    return wanted.sample_rate, partial(RowContents, reader, "with a line" if spec.target else "with a row")


def _never() -> bool:
    """Nobody writes what nobody reads."""
    return False


def _patience(wanted: Wanted) -> Patience:
    return Endless() if wanted.kind == "token" else Patience(wanted.sample_rate if wanted.kind == "sensor" else 0.0)


class StandardInput:
    """A pipe that ends with its writer."""

    live = False

    def __init__(self, fd: int, contents: Contents, rate: float, patience: Patience) -> None:
        self.rate = rate
        self._fd, self._contents, self._patience = fd, contents, patience

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`. Raises `SourceError` where it ends in the middle of a sample, or begins with what is no
        row at all.
        """
        for read in read_until_closed(self._fd, "pipe", self._patience, stop):
            yield from self._contents.push(read)
        if not stop.is_set():
            yield from self._contents.end()


class NamedPipe:
    """A FIFO, read until it is removed."""

    live = False

    def __init__(self, fifo: Fifo, contents: Contents, rate: float) -> None:
        self.rate = rate
        self._fifo, self._contents = fifo, contents

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`. Raises `SourceError` where it is removed."""
        for read in self._fifo.reads(stop):
            yield from self._contents.push(read)
