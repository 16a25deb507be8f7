"""The generator: a model runs freely. What it holds likely next, token or row, is drawn and given back to it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from otolith.errors import UsageError
from otolith.inference.card import Card, Forecast, Tokens
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


def continue_rows(
    model: Model, prompt: NDArray[np.float32], steps: int, temperature: float, seed: int
) -> Iterator[NDArray[np.float32]]:
    """`steps` rows `(channels,)` behind `prompt` `(rows, channels)`, which may be empty; the same seed draws the same.

    Each is the next row's forecast, and `temperature` times an error as large as the model's own is: 0 is the forecast
    itself, which soon comes to rest. Raises `UsageError` where the card does not tell how large they are.
    """
    card, random = model.card, np.random.default_rng(seed)
    error = temperature * errors_of(card) if temperature else np.zeros(len(card.channels))
    rows, state = prompt if len(prompt) else np.zeros((1, len(card.channels)), np.float32), model.fresh_state()
    for _ in range(steps):
        forecasts, state = model.step(rows[None], state)
        drawn = (forecasts[0, -1, 0] + error * random.standard_normal(len(error))).astype(np.float32)
        yield drawn
        rows = drawn[None]


def errors_of(card: Card) -> NDArray[np.float64]:
    """How far forecasts of the next row were off on rows held out `(channels,)`: root mean square, in their own units.

    Of a card that does not tell it, how far those of all rows ahead were.
    """
    assert isinstance(card.forecast, Forecast)  # noqa: S101 - the caller looked
    for split in ("dev", "test"):
        told = card.metrics.get(split, {}).get("per_channel", {})
        if all(channel.name in told for channel in card.channels):
            squares = [told[channel.name] for channel in card.channels]
            scaled = [math.sqrt(float(of.get("next_mse", of["mse"]))) for of in squares]
            return np.asarray(np.multiply(scaled, card.forecast.scale))
    raise UsageError(f"{card.name}: was measured on no rows, so how far it errs is not known; ask for --temperature 0")
