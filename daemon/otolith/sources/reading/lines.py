"""Lines: bytes in pieces of any length become whole lines, and one without an end takes no more memory than another."""

from __future__ import annotations

from collections.abc import Iterator

MAX_LINE_BYTES = 1 << 16


class Lines:
    """Cuts bytes at newlines. What is begun waits for its end, `longest` bytes of it at most."""

    def __init__(self, longest: int = MAX_LINE_BYTES) -> None:
        self._longest = longest
        self._begun: list[bytes] = []  # joined once its end has come: a line may come byte by byte
        self._length = 0
        self._is_given_up = False

    def push(self, data: bytes) -> Iterator[bytes | None]:
        """The lines that end in `data`, without their ends; None for each that became too long, as soon as it is."""
        *ended, rest = data.split(b"\n")
        for end in ended:
            yield from self._add(end)
            if not self._is_given_up:
                yield b"".join(self._begun)
            self._forget()
        yield from self._add(rest)

    def cut(self) -> bytes | None:
        """What was begun, and will not be ended; None where there is nothing, or it was told as too long."""
        begun = b"".join(self._begun) or None
        self._forget()
        return begun

    def _add(self, piece: bytes) -> Iterator[None]:
        if self._is_given_up or not piece:
            return
        self._length += len(piece)
        if self._length <= self._longest:
            self._begun.append(piece)
            return
        self._begun, self._is_given_up = [], True
        yield None

    def _forget(self) -> None:
        self._begun, self._length, self._is_given_up = [], 0, False
