"""Protobuf as it stands in a file: a message's fields, in order, whatever they are called.

Nothing nests here and nothing is copied, and a `Walk` looks at a bounded number of fields: a hostile message costs no
more than its bytes, and no more than a moment. Groups, which onnx.proto3 never uses, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

SIGN = 1 << 63


class Field(NamedTuple):
    """One field: its number, and a varint's value or the bytes of whatever else it holds."""

    number: int
    value: int | memoryview

    @property
    def bytes(self) -> memoryview:
        """The field's content. Raises `ValueError` where a plain number stands in its place."""
        if isinstance(self.value, int):
            raise ValueError(f"field {self.number} should hold bytes")  # noqa: TRY004 - one error for all malformed files
        return self.value

    @property
    def text(self) -> str:
        """The field's content as text; what is no UTF-8 is replaced."""
        return bytes(self.bytes).decode("utf-8", "replace")

    @property
    def integer(self) -> int:
        """The field's signed value. Raises `ValueError` where bytes stand in its place."""
        if not isinstance(self.value, int):
            raise ValueError(f"field {self.number} should hold a number")  # noqa: TRY004
        return (self.value & (2 * SIGN - 1) ^ SIGN) - SIGN


class Walk:
    """A walk through one file, of at most so many fields: millions of empty ones would be minutes and gigabytes."""

    def __init__(self, most: int) -> None:
        self._left = most

    def fields(self, message: memoryview) -> Iterator[Field]:
        """The fields of a message, in file order. Raises `ValueError` or `IndexError` where it breaks off."""
        at = 0
        while at < len(message):
            key, at = _varint(message, at)
            number, wire_type = key >> 3, key & 7
            value: int | memoryview
            if wire_type == 0:
                value, at = _varint(message, at)
            elif wire_type == 2:
                length, at = _varint(message, at)
                value, at = message[at : at + length], at + length
            elif wire_type in (1, 5):
                length = 8 if wire_type == 1 else 4
                value, at = message[at : at + length], at + length
            else:
                raise ValueError(f"wire type {wire_type}")
            if at > len(message):
                raise ValueError("the message breaks off")
            self._left -= 1
            if self._left < 0:
                raise ValueError("the file holds too many fields")
            yield Field(number, value)


def integers(field: Field, most: int) -> list[int]:
    """A repeated integer field, packed or not, signed. Raises `ValueError` on more than `most`."""
    if count_integers(field) > most:
        raise ValueError(f"field {field.number} holds over {most} numbers")
    if isinstance(field.value, int):
        return [field.integer]
    found, at = [], 0
    while at < len(field.value):
        value, at = _varint(field.value, at)
        found.append(Field(field.number, value).integer)
    return found


def count_integers(field: Field) -> int:
    """How many integers a repeated field holds, packed or not: each ends with a byte below 128."""
    if isinstance(field.value, int):
        return 1
    return int(np.count_nonzero(np.frombuffer(field.value, np.uint8) < 128))


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint is too long")
