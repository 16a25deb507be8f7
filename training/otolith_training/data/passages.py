"""The reader: passages of text become endless streams of tokens, each with the token that follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otolith.inference.tokenizer import Ids
from otolith_training.data.composer import Chunk, Seed
from otolith_training.recipe import Text


class PassageReader:
    """Endless streams; the same seed gives the same ones.

    A stream that starts afresh begins with the end of a line, as what comes from nothing does, or anywhere. One that
    comes to the end of all text goes on at its beginning.
    """

    def __init__(
        self, passages: Sequence[Ids], settings: Text, vocabulary: int, end: int, *,
        streams: int, frames: int, fresh_start: float, seed: Seed,
    ) -> None:  # fmt: skip
        self._text = np.concatenate([np.array([end]), *passages])
        self._ends = np.flatnonzero(self._text == end)  # where a line begins: with the end of the one before
        self._settings, self._vocabulary = settings, vocabulary
        self._frames, self._fresh_start = frames, fresh_start
        self._random = np.random.default_rng(seed)
        self._at = np.full(streams, -1)

    def next(self) -> Chunk:
        """The next `frames` tokens of every stream."""
        streams = len(self._at)
        fresh = (self._random.random(streams) < self._fresh_start) | (self._at < 0)
        for stream in np.flatnonzero(fresh):
            self._at[stream] = self._begin()
        places = (self._at[:, None] + np.arange(self._frames + 1)) % len(self._text)
        self._at = places[:, -1]
        tokens = self._text[places]  # (streams, frames + 1)
        allowed = np.zeros((streams, self._frames, self._vocabulary), bool)
        np.put_along_axis(allowed, tokens[:, 1:, None], values=True, axis=2)
        return Chunk(np.ascontiguousarray(tokens[:, :-1]), allowed, fresh)

    def _begin(self) -> int:
        if self._random.random() < self._settings.start_on_line:
            return int(self._ends[self._random.integers(len(self._ends))])
        return int(self._random.integers(len(self._text)))
