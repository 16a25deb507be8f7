"""The laws on a token model: chunking, causality, accounting and the fresh start; company is in test_utterance.py."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from otolith.inference.events import Gap, Posteriors
from otolith.inference.framing import NO_SUCH_ID
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from tests.tiny import TOKENS, write_tiny

Ids = NDArray[np.int64]

LINES = st.lists(st.integers(0, len(TOKENS.vocabulary) - 1), min_size=1, max_size=30).map(
    lambda ids: np.array(ids, np.int64)
)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path: Path = write_tiny(tmp_path_factory.mktemp("models") / "tokens.onnx", "token")
    return Model.open(path)


def posteriors(model: Model, blocks: list[Ids]) -> NDArray[np.float32]:
    stream = Stream(model)
    return np.concatenate([e.values for b in blocks for e in stream.push(b) if isinstance(e, Posteriors)])


@given(ids=LINES, cuts=st.lists(st.integers(0, 30), max_size=8))
def test_law_1_chunking_a_line_whole_in_pieces_or_token_by_token(tokens: Model, ids: Ids, cuts: list[int]) -> None:
    whole = posteriors(tokens, [ids])
    pieces = [ids[a:b] for a, b in pairwise([0, *sorted(min(cut, len(ids)) for cut in cuts), len(ids)])]
    np.testing.assert_allclose(posteriors(tokens, pieces), whole, atol=1e-5)
    np.testing.assert_allclose(posteriors(tokens, list(ids[:, None])), whole, atol=1e-5)


@given(ids=LINES, later=LINES)
def test_law_3_causality_and_padding_later_tokens_change_nothing_earlier(tokens: Model, ids: Ids, later: Ids) -> None:
    padded = posteriors(tokens, [np.concatenate((ids, later))])
    np.testing.assert_allclose(padded[: len(ids)], posteriors(tokens, [ids]), atol=1e-6)


@given(blocks=st.lists(st.lists(st.integers(-2, 7), max_size=6), max_size=10))
def test_law_5_accounting_every_token_was_stepped_or_is_in_a_gap(tokens: Model, blocks: list[list[int]]) -> None:
    stream = Stream(tokens)
    events = [event for block in blocks for event in stream.push(np.array(block, np.int64))]
    stepped = sum(len(e.values) for e in events if isinstance(e, Posteriors))
    gaps = [e for e in events if isinstance(e, Gap)]
    assert stepped + sum(gap.lost for gap in gaps) == sum(map(len, blocks))
    assert {gap.reason for gap in gaps} <= {NO_SUCH_ID}


@given(before=LINES, ids=LINES)
def test_law_6_fresh_start_behind_a_gap_nothing_is_left_of_before(tokens: Model, before: Ids, ids: Ids) -> None:
    stream = Stream(tokens)
    stream.push(before)
    stream.gap(1, "lost")
    [found, *_] = stream.push(ids)
    assert isinstance(found, Posteriors)
    np.testing.assert_array_equal(found.values, posteriors(tokens, [ids]))
