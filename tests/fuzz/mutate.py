"""Cases for fuzzing: what is valid, spoiled a little, again and again, from a seed.

A case that is refused for a reason not met before joins those that are spoiled further: so cases wander on through a
reader as far as coverage would lead them, and the same seed leads the same way.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

MOST_KEPT = 512
LONGEST = 1 << 16

INTEGERS = (0, 1, -1, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1)
WORDS = (
    *(str(number).encode() for number in (*INTEGERS, 2**64, -(2**63))),
    *(b"nan", b"inf", b"-inf", b"1e999", b"1e-999", b"-0", b"", b"null", b"true", b'""', b"[]", b"{}", b"\0", b"\n"),
    *(
        b"\xff\xfe",
        b"\xf0\x9f\x92\xa9",
        b"../../",
        b"%00",
        b"\x1b[31m",
        b"\x80",
        b"\xc1",
        b"\xdf",
        b"\xdd\xff\xff\xff\xff",
    ),
    *(b"[" * 64, b"{" * 64, b"(" * 64, b"9" * 64, b"\x91" * 64, b"\x81\x01" * 64, b'{"a":' * 64, b"a." * 64),
)


class Cases:
    """Endless spoiled copies of `seeds`."""

    def __init__(self, seeds: Sequence[bytes], seed: int) -> None:
        self._random = random.Random(seed)
        self._kept = list(seeds)
        self._valid = len(seeds)

    @property
    def held_bytes(self) -> int:
        """What the kept ones hold."""
        return sum(map(len, self._kept))

    def next(self) -> bytes:
        """One more: a kept one with one to eight wounds, as a rule few."""
        case = bytearray(self._random.choice(self._kept))
        for _ in range(min(8, int(self._random.expovariate(0.7)) + 1)):
            self._random.choice(WOUNDS)(self._random, case, self._kept)
        return bytes(case[:LONGEST])

    def keep(self, case: bytes) -> None:
        """Spoil this one further too."""
        if len(self._kept) < MOST_KEPT:
            self._kept.append(case)
        else:  # what was valid stays
            self._kept[self._random.randrange(self._valid, MOST_KEPT)] = case


Wound = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def _stretch(draw: random.Random, case: bytearray) -> slice:
    start = draw.randrange(len(case) + 1)
    return slice(start, min(len(case), start + min(int(draw.expovariate(0.1)) + 1, 4096)))


def _flip(draw: random.Random, case: bytearray, _others: Sequence[bytes]) -> None:
    if case:
        case[draw.randrange(len(case))] ^= 1 << draw.randrange(8)


def _set(draw: random.Random, case: bytearray, _others: Sequence[bytes]) -> None:
    if case:
        case[draw.randrange(len(case))] = draw.randrange(256)


def _number(draw: random.Random, case: bytearray, _others: Sequence[bytes]) -> None:
    at, width = draw.randrange(len(case) + 1), draw.choice((1, 2, 4, 8))
    value = (draw.choice(INTEGERS) + draw.randrange(-2, 3)) % (1 << 8 * width)
    case[at : at + width] = value.to_bytes(width, draw.choice(("little", "big")))


def _float(draw: random.Random, case: bytearray, _others: Sequence[bytes]) -> None:
    at = draw.randrange(len(case) + 1)
    value = draw.choice((float("nan"), float("inf"), -1e300, 1e-300, 0.0, -0.0))
    packed = struct.pack("<d", value) if draw.random() < 0.5 else struct.pack("<f", max(-1e38, min(value, 1e38)))
    case[at : at + len(packed)] = packed


def _word(draw: random.Random, case: bytearray, _others: Sequence[bytes]) -> None:
    stretch = _stretch(draw, case)
    case[stretch if draw.random() < 0.5 else slice(stretch.start, stretch.start)] = draw.choice(WORDS)


def _digits(draw: random.Random, case: bytearray, _others: Sequence[bytes]) -> None:
    """Another number where one is written in figures."""
    places = [at for at, byte in enumerate(case[:4096]) if 48 <= byte <= 57]
    if places:
        start = end = draw.choice(places)
        while end < len(case) and case[end] in b"0123456789.eE-":
            end += 1
        case[start:end] = draw.choice(WORDS[:26])


def _cut(draw: random.Random, case: bytearray, _others: Sequence[bytes]) -> None:
    del case[_stretch(draw, case)]


def _truncate(draw: random.Random, case: bytearray, _others: Sequence[bytes]) -> None:
    del case[draw.randrange(len(case) + 1) :]


def _again(draw: random.Random, case: bytearray, _others: Sequence[bytes]) -> None:
    stretch = _stretch(draw, case)
    case[stretch.stop : stretch.stop] = bytes(case[stretch]) * draw.choice((1, 1, 1, 2, 7, 200))


def _splice(draw: random.Random, case: bytearray, others: Sequence[bytes]) -> None:
    other = draw.choice(others)
    start = draw.randrange(len(other) + 1)
    case[_stretch(draw, case)] = other[start : start + draw.randrange(1, 256)]


def _noise(draw: random.Random, case: bytearray, _others: Sequence[bytes]) -> None:
    case[_stretch(draw, case)] = draw.randbytes(draw.randrange(1, 64))


WOUNDS: tuple[Wound, ...] = (
    *(_flip, _flip, _set, _set, _number, _number, _float, _word, _word, _digits, _digits),
    *(_cut, _truncate, _again, _splice, _noise),
)
