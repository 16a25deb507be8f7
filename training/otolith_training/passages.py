"""The course of a recipe that forecasts the next token: text to learn from, and to be measured on while learning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from otolith.errors import OtolithError
from otolith.inference.tokenizer import Ids
from otolith_training.data.datasets import Line, Split
from otolith_training.data.material import Items
from otolith_training.data.passages import PassageReader
from otolith_training.data.texts import tokenizer_of
from otolith_training.measure.language import figures_of_tokens
from otolith_training.measure.rehearse import Metrics, posteriors_of
from otolith_training.network.network import Network
from otolith_training.recipe import Recipe, Text, Tokens

MOST_TOKENS = 20_000  # of the development text that are measured an epoch
PIECES = 16  # in so many streams, each from a fresh start


class PassageRehearsal:
    """The development text, cut into a few streams."""

    def __init__(self, passages: Sequence[Ids], end: int) -> None:
        text = np.concatenate([np.array([end]), *passages])[:MOST_TOKENS]
        length = max(1, (len(text) - 1) // PIECES)
        starts = range(0, min(PIECES, (len(text) - 1) // length) * length, length)
        self._tokens = torch.from_numpy(np.stack([text[start : start + length + 1] for start in starts]))

    def __call__(self, network: Network) -> Metrics:
        """Perplexity, bits a token, and how often the likeliest token came; the bits choose."""
        rows = posteriors_of(network, self._tokens[:, :-1])
        truth = self._tokens[:, 1:].reshape(-1).numpy()
        figures = figures_of_tokens(rows.reshape(len(truth), -1), truth)
        return {"score": 1 / (1 + figures["bits_per_token"]), **{n: figures[n] for n in ("perplexity", "accuracy")}}


class PassageCourse:
    """Training streams by epoch, and the rehearsal. Raises `OtolithError` where a split is empty."""

    def __init__(self, recipe: Recipe, items: Items) -> None:
        assert isinstance(recipe.frontend, Tokens) and isinstance(recipe.streams, Text)  # noqa: S101, PT018
        self._recipe, self._settings = recipe, recipe.streams
        self._tokenizer = tokenizer_of(recipe.frontend)
        self._learned = self._passages(items, "train")
        self.rehearsal = PassageRehearsal(self._passages(items, "dev"), self._tokenizer.end_id)

    def streams(self, epoch: int) -> PassageReader:
        """An epoch's streams."""
        training = self._recipe.training
        return PassageReader(
            self._learned, self._settings, len(self._recipe.all_labels), self._tokenizer.end_id,
            streams=training.batch, frames=training.chunk_frames, fresh_start=training.fresh_start,
            seed=(training.seed, epoch),
        )  # fmt: skip

    def _passages(self, items: Items, split: Split) -> list[Ids]:
        found = [item.encode(self._tokenizer) for item in items if isinstance(item, Line) and item.split == split]
        if sum(map(len, found)) < 2:
            raise OtolithError(f"{self._recipe.data.path}: no text falls into the split {split!r}; bring more lines")
        return found
