"""The generator: a model of tokens runs freely. What it holds likely next is drawn from, and given back to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Tokens
from otolith.inference.model import Model
from otolith.inference.tokenizer import Ids, Tokenizer

LEAST = 1e-12  # a posterior is no lower: its logarithm must be a number


def continue_tokens(model: Model, prompt: Ids, steps: int, temperature: float, seed: int) -> Iterator[int]:
    """`steps` token ids behind `prompt` `(n,)`, which may be empty; the same seed draws the same ones.

    A temperature of 1 draws as the model holds likely, a lower one more safely, 0 takes the likeliest each time. The
    unknown token is never drawn: it is no text.
    """
    assert isinstance(model.card.tokens, Tokens)  # noqa: S101 - the caller looked
    tokenizer = Tokenizer(model.card.tokens)
    random = np.random.default_rng(seed)
    unknown = model.card.tokens.vocabulary.index(model.card.tokens.unknown)
    ids, state = np.concatenate((np.array([tokenizer.end_id]), prompt)), model.fresh_state()
    for _ in range(steps):
        posteriors, state = model.step(ids[None], state)
        drawn = draw(posteriors[0, -1], temperature, random, unknown)
        yield drawn
        ids = np.array([drawn])


def draw(posteriors: NDArray[np.float32], temperature: float, random: np.random.Generator, never: int) -> int:
    """A token of posteriors `(tokens,)`, sharpened or flattened by `temperature`; `never` is not drawn."""
    logits = np.log(np.maximum(posteriors.astype(np.float64), LEAST))
    logits[never] = -np.inf
    if temperature == 0:
        return int(logits.argmax())
    powers = np.exp((logits - logits.max()) / temperature)
    return int(random.choice(len(powers), p=powers / powers.sum()))
