"""Free running: drawn from what the model holds likely, and given back to it."""

from __future__ import annotations

import numpy as np

from otolith.inference.generator import continue_tokens, draw
from otolith.inference.model import Model

SURE = np.array([0.5, 0.05, 0.4, 0.05], np.float32)


def test_it_goes_on_for_as_many_steps_as_it_is_asked_for(tiny_token: Model) -> None:
    """A tiny model has two labels; here they stand for its first two tokens."""
    drawn = list(continue_tokens(tiny_token, np.array([2, 4]), 5, 0.0, seed=1))
    assert drawn == [1] * 5  # 0 is the unknown token, which is never drawn


def test_the_same_seed_draws_the_same_and_the_unknown_token_is_never_drawn() -> None:
    drawn = [[draw(SURE, 1.0, np.random.default_rng(seed), never=0) for seed in range(200)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {1, 2, 3}


def test_a_low_temperature_is_safe_and_a_high_one_bold() -> None:
    shares = [
        np.mean([draw(SURE, heat, np.random.default_rng(seed), never=0) == 2 for seed in range(300)])
        for heat in (0.0, 0.3, 1.0, 50.0)
    ]
    assert shares[0] == 1.0
    assert shares[0] >= shares[1] > shares[2] > shares[3]
    assert abs(shares[2] - 0.8) < 0.1
    assert abs(shares[3] - 1 / 3) < 0.1
