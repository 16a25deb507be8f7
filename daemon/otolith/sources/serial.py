"""A serial line as a source: a sensor's rows as lines of CSV or JSON, or lines of text.

The port is opened again whenever it drops: unplugged, a read that fails, an end. One that is only silent stays open,
since many boards start anew when they are opened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import termios
from collections.abc import Callable, Iterator
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from otolith.errors import SourceError, UsageError
from otolith.inference.card import Tokens
from otolith.sources.reading.contents import Contents, RowContents, TextContents, row_reader
from otolith.sources.reading.reads import Endless, Patience, read_until_closed
from otolith.sources.reading.timed import Timed
from otolith.sources.reading.timeline import Timeline
from otolith.sources.returning import Returning
from otolith.sources.source import Block, Source, Spec, Wanted

if TYPE_CHECKING:
    import serial

BAUD = 115_200
WHY = {
    errno.ENOENT: "there is no such port; is it plugged in?",
    errno.EACCES: "not permitted; the daemon's user must be in the group dialout",
    errno.EBUSY: "in use by another program",
    errno.EWOULDBLOCK: "in use by another program",
}


def open_serial(spec: Spec, wanted: Wanted, *, waits: bool = False) -> Source:
    """`serial:PORT[?baud=115200&columns=A,B]`; it may be missing at first with `waits`.

    Raises `UsageError`, also where pyserial is not installed.
    """
    baud, make = plan_serial(spec, wanted)
    try:
        import serial  # noqa: F401 - here: few have sensors on a line
    except ImportError:
        raise UsageError(f"source {spec.text!r}: needs pyserial; pip install 'otolith[serial]'") from None
    timeline = Timeline(wanted.sample_rate if wanted.kind == "sensor" else 0.0)
    patience = partial(Patience, wanted.sample_rate) if wanted.kind == "sensor" else Endless
    line = Returning(
        lambda: SerialLine(spec.target, baud, make(), wanted.sample_rate, patience()),
        wanted.sample_rate,
        waits=waits,
        counts=lambda: wanted.kind == "sensor" and timeline.last_s is None,
        nothing=make().nothing,
    )
    return Timed(line, timeline, spec.text) if wanted.kind == "sensor" else line


def plan_serial(spec: Spec, wanted: Wanted) -> tuple[int, Callable[[], Contents]]:
    """The line's speed, and how its bytes are read. Raises `UsageError`."""
    if not spec.target:
        raise UsageError(f"source {spec.text!r}: names no port; write serial:/dev/serial/by-id/...")
    if wanted.kind == "audio":
        raise UsageError(f"source {spec.text!r}: the model takes sound; give it a microphone:, recording: or pipe:")
    if isinstance(wanted.tokens, Tokens):
        spec.allow("baud")
        make: Callable[[], Contents] = partial(TextContents, wanted.tokens)
    else:
        spec.allow("baud", "columns")
        make = partial(RowContents, row_reader(spec, wanted), "anywhere")
    return spec.whole("baud", BAUD, 50, 12_000_000), make


class SerialLine:
    """An open port, read until it drops. Raises `SourceError` where it cannot be opened."""

    live = True

    def __init__(self, port: str, baud: int, contents: Contents, rate: float, patience: Patience) -> None:
        self.rate = rate
        self._name = f"serial:{port}"
        self._contents, self._patience = contents, patience
        self._port = self._open(port, baud)

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`. Raises `SourceError` where the line drops."""
        try:
            for read in read_until_closed(self._port.fileno(), self._name, self._patience, stop):
                yield from self._contents.push(read)
        except OSError as error:
            raise SourceError(f"{self._name}: the line dropped ({error.strerror})") from None
        finally:
            with contextlib.suppress(OSError):
                self._port.close()
        if not stop.is_set():
            raise SourceError(f"{self._name}: the line dropped")

    def _open(self, port: str, baud: int) -> serial.Serial:
        import serial

        try:
            return serial.Serial(port, baud, timeout=0, exclusive=True)
        except (OSError, ValueError, termios.error) as error:  # pyserial's own is an OSError
            number = getattr(error, "errno", None)
            why = WHY.get(number or 0) or (os.strerror(number) if number else str(error))
            raise SourceError(f"{self._name}: cannot be opened ({why})") from None
