"""The tokenizer: lines of text become token ids, and ids text again, as a model's card says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Cut, Tokens

Ids = NDArray[np.int64]

END = "\n"  # the token of a line's end, where a vocabulary has one


class Tokenizer:
    """Knows a card's vocabulary; what does not stand there is its unknown token."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self._ids = {token: index for index, token in enumerate(tokens.vocabulary)}
        self._unknown = self._ids[tokens.unknown]

    def encode(self, line: str) -> Ids:
        """The ids `(n,)` of a line, with that of its end where lines end with one.

        Where a line is one code, the end is that of all the codes since the last empty line: it is the empty line's.
        """
        pieces = list(cut_line(line, self.tokens.cut, lower=self.tokens.lower))
        if self.tokens.end is not None and self.ends(line):
            pieces.append(self.tokens.end)
        return np.array([self._ids.get(piece, self._unknown) for piece in pieces], np.int64)

    def encode_text(self, text: str) -> Ids:
        """The ids `(n,)` of text whose last line, if it has no end, may go on."""
        ids = np.concatenate([self.encode(line) for line in text.split("\n")])
        return ids[:-1] if len(ids) and self.tokens.end is not None and ids[-1] == self.end_id else ids

    def ends(self, line: str) -> bool:
        """Does an utterance end with this line? Each line is one, but where lines are codes."""
        return self.tokens.cut != "lines" or not line.strip()

    @property
    def end_id(self) -> int:
        """What stands before a first token, if nothing else does: the end of a line, or the unknown token."""
        return self._unknown if self.tokens.end is None else self._ids[self.tokens.end]

    def decode(self, ids: Iterable[int]) -> Iterable[str]:
        """The text of ids, piece by piece: words with a space between them, codes a line each."""
        is_line_start = True
        for index in ids:
            token = self.tokens.vocabulary[index]
            if token == self.tokens.end:
                yield "\n"
            elif self.tokens.cut == "lines":
                yield f"{token}\n"
            else:
                yield token if is_line_start or self.tokens.cut == "characters" else f" {token}"
            is_line_start = token == self.tokens.end


def cut_line(line: str, cut: Cut, *, lower: bool) -> Sequence[str]:
    """A line's tokens: its words, its characters, or all of it as one; nothing of a line that is empty."""
    line = line.rstrip("\r\n")
    if lower:
        line = line.lower()
    if cut == "words":
        return line.split()
    if cut == "characters":
        return line
    code = line.strip()
    return [code] if code else []
