"""A text file as a source: a block of token ids a line.

Text has no clock: a model's `sample_rate` is what its tokens are counted at, one a second unless its recipe knows
better.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

from otolith.inference.card import Tokens
from otolith.inference.tokenizer import Tokenizer
from otolith.recordings import read_lines
from otolith.sources.source import Block, Pace


class TextRecording:
    """A text file, line by line, paced by its tokens."""

    live = False

    def __init__(self, path: Path, tokens: Tokens, rate: float, paced: bool, start_ns: int | None) -> None:
        self.rate = rate
        self._path, self._tokenizer = path, Tokenizer(tokens)
        self._paced, self._start_ns = paced, start_ns

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`. Raises `RecordingError` on what is no text."""
        clock = Pace(self._paced, self._start_ns)
        position = 0
        for line in read_lines(self._path):
            ids = self._tokenizer.encode(line)
            position += len(ids)
            if not clock.reach(position / self.rate, stop):
                return
            yield Block(ids, clock.time_ns(position / self.rate), ends=self._tokenizer.ends(line))
