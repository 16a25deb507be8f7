"""Where token vectors begin: in the company that tokens keep, and in what lines with them are called."""

from __future__ import annotations

import math

import numpy as np
import pytest

from otolith_training.data.vectors import ratios_of, vectors_of

LINES = [np.array(ids) for ids in ([0, 1], [0, 1, 1], [0, 2], [0, 2])]


def test_tokens_that_keep_the_same_company_begin_alike() -> None:
    vectors = vectors_of(LINES * 3, vocabulary=3, width=2)
    alike = vectors @ vectors.T / np.outer(*[np.linalg.norm(vectors, axis=1) + 1e-9] * 2)
    assert alike[1, 2] > alike[0, 1]


def test_a_ratio_is_how_much_oftener_a_token_stands_under_the_second_of_two_labels() -> None:
    ratios = ratios_of(LINES, ["bad", "bad", "good", "good"], vocabulary=3)
    assert ratios.shape == (3, 1)
    # a line counts a token once and each stands in one line more: 3, 3, 1 against 3, 1, 3
    assert ratios[:, 0] == pytest.approx([0.0, -math.log(3), math.log(3)], abs=1e-6)


def test_of_more_labels_each_is_held_against_all_others() -> None:
    ratios = ratios_of(LINES, ["bad", "good", "odd", "odd"], vocabulary=3)
    assert ratios.shape == (3, 3)
    assert ratios[2].argmax() == 2
    assert ratios[1].argmin() == 2
