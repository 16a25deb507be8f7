"""How well the next token is forecast: perplexity, through the daemon's own stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError
from otolith.inference.card import Tokens
from otolith.inference.events import Posteriors
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.inference.tokenizer import Tokenizer
from otolith_training.data.datasets import AnyItem, Line
from otolith_training.measure.tracks import Advance

LEAST = 1e-9  # a posterior is no lower, or one surprise would be all there is to tell
BLOCK = 1024  # tokens pushed at once


def measure_language(model: Model, items: Sequence[AnyItem], advance: Advance | None = None) -> dict[str, Any]:
    """Figures over passages, each read from a fresh start, the state carried to its end. Raises `OtolithError`."""
    assert isinstance(model.card.tokens, Tokens)  # noqa: S101 - the caller looked
    tokenizer = Tokenizer(model.card.tokens)
    told, truth = [], []
    for number, item in enumerate(items):
        assert isinstance(item, Line)  # noqa: S101
        ids = np.concatenate((np.array([tokenizer.end_id]), item.encode(tokenizer)))
        stream = Stream(model)
        for start in range(0, len(ids) - 1, BLOCK):
            block, following = ids[start : start + BLOCK], ids[start + 1 : start + BLOCK + 1]
            rows = [event.values for event in stream.push(block[: len(following)]) if isinstance(event, Posteriors)]
            told.append(np.concatenate(rows)[np.arange(len(following)), following])
            truth.append(np.concatenate(rows).argmax(axis=1) == following)
        if advance is not None:
            advance(number + 1, len(items))
    if not told:
        raise OtolithError("no token follows another here; bring more text")
    return _figures(np.concatenate(told), np.concatenate(truth))


def figures_of_tokens(posteriors: NDArray[np.float32], truth: NDArray[np.int64]) -> dict[str, Any]:
    """Figures of posteriors `(tokens, vocabulary)` before the tokens that came `(tokens,)`."""
    return _figures(posteriors[np.arange(len(truth)), truth], posteriors.argmax(axis=1) == truth)


def _figures(told: NDArray[np.float32], is_first: NDArray[np.bool_]) -> dict[str, Any]:
    bits = float(-np.log2(np.maximum(told, LEAST)).mean())
    return {
        "tokens": len(told),
        "perplexity": 2.0**bits,
        "bits_per_token": bits,
        "accuracy": float(is_first.mean()),
    }
