"""Rows: a line of CSV or JSON is read as a row of a model's channels, or it is said why it is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

MALFORMED = "malformed row"
TOO_LONG = f"{MALFORMED}: too long"
BROKEN = f"{MALFORMED}: broken off"
WIDTH = f"{MALFORMED}: other columns than the model's"
MISSING = f"{MALFORMED}: a channel is missing"
NOT_A_NUMBER = f"{MALFORMED}: not a number"

FLOAT32_MAX = 3.4028234e38
TIMES = {"t": 1.0, "timestamp": 1e-3}  # what a row's own time is called -> seconds a unit
BOM = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """A value a channel, and the row's own time in seconds, by whatever clock its sensor has."""

    values: list[float]
    time_s: float | None = None


class Fault(NamedTuple):
    """Something that is no row, and counts as one that was lost."""

    reason: str


class RowReader:
    """Reads lines as rows of `channels`, in that order.

    A line of CSV has the channels in order, or any columns under a header that names them; a header may come again.
    `columns` stand for a header that never comes. A line of JSON is an object by channel name, an array of the channels
    in order, or an array of such rows.
    """

    def __init__(self, channels: Sequence[str], columns: Sequence[str] = ()) -> None:
        self.channels, self._columns = tuple(channels), list(columns)
        self.begin()

    def begin(self) -> None:
        """Forget a header."""
        self._width = len(self.channels)
        self._places: list[int] | None = None  # where each channel stands in a line, unless in order and alone
        self._time_place, self._time_unit = -1, 0.0
        if self._columns:
            self._name(self._columns)

    def read(self, line: bytes) -> Iterator[Row | Fault]:
        """The rows of a line; nothing of an empty one and of a header."""
        line = line.strip()
        if line.startswith((b"{", b"[")):
            yield from self._json(line)
        elif line:
            row = self._csv(line)
            if isinstance(row, Row) or not self.is_header(line):
                yield row

    def is_header(self, line: bytes) -> bool:
        """Whether a line names the channels; then those behind it are read so."""
        fields = [field.strip().strip('"') for field in line.removeprefix(BOM).decode("utf-8", "replace").split(",")]
        if not set(self.channels) <= set(fields):
            return False
        self._name(fields)
        return True

    def _name(self, fields: list[str]) -> None:
        self._places = [fields.index(name) for name in self.channels]
        name = next((name for name in TIMES if name in fields and name not in self.channels), None)
        self._time_place, self._time_unit = (fields.index(name), TIMES[name]) if name else (-1, 0.0)
        self._width = len(fields)

    def _csv(self, line: bytes) -> Row | Fault:
        fields = line.split(b",")
        if len(fields) != self._width:
            return Fault(WIDTH)
        if b"_" in line:  # Python reads 1_000 as a number, nobody else does
            return Fault(NOT_A_NUMBER)
        chosen: list[Any] = fields if self._places is None else [fields[place] for place in self._places]
        time = None if self._time_place < 0 else fields[self._time_place]
        return _row(chosen, time, self._time_unit)

    def _json(self, line: bytes) -> Iterator[Row | Fault]:
        try:
            told: Any = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError, ValueError):
            yield Fault(MALFORMED)
            return
        if isinstance(told, list) and told and isinstance(told[0], list | dict):
            for each in told:
                yield self._value(each)
        else:
            yield self._value(told)

    def _value(self, told: Any) -> Row | Fault:
        """A row of what stood in JSON."""
        if isinstance(told, list):
            return _numbers(told, None, 0.0) if len(told) == len(self.channels) else Fault(WIDTH)
        if not isinstance(told, dict):
            return Fault(MALFORMED)
        try:
            chosen = [told[name] for name in self.channels]
        except KeyError:
            return Fault(MISSING)
        name = next((name for name in TIMES if name in told and name not in self.channels), None)
        return _numbers(chosen, told[name], TIMES[name]) if name else _numbers(chosen, None, 0.0)


def read_payload(reader: RowReader, payload: bytes) -> Iterator[Row | Fault]:
    """The rows of a whole message: one JSON value over any number of lines, or a row a line."""
    if payload.lstrip().startswith((b"{", b"[")) and b"\n" in payload.strip():
        found = list(reader.read(payload))
        if found != [Fault(MALFORMED)]:
            yield from found
            return
    for line in payload.split(b"\n"):
        yield from reader.read(line)


def _numbers(values: list[Any], time: Any, unit_s: float) -> Row | Fault:
    """A row of JSON's values; `true` and `"1"` are no numbers there."""
    if any(type(value) not in (int, float) for value in (*values, 0 if time is None else time)):
        return Fault(NOT_A_NUMBER)
    return _row(values, time, unit_s)


def _row(fields: list[Any], time: Any, unit_s: float) -> Row | Fault:
    """Numbers, or bytes that say them."""
    try:
        values = [float(field) for field in fields]
        time_s = None if time is None else float(time) * unit_s
    except (ValueError, TypeError, OverflowError):
        return Fault(NOT_A_NUMBER)
    for value in values:
        if not -FLOAT32_MAX <= value <= FLOAT32_MAX:  # false for NaN as well
            return Fault(NOT_A_NUMBER)
    if time_s is not None and not -1e12 < time_s < 1e12:
        return Fault(NOT_A_NUMBER)
    return Row(values, time_s)
