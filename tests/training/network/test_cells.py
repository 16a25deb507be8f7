"""The cells: however they are stepped, cut and padded, a stream's own frames give the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from otolith_training.measure.rehearse import posteriors_of
from otolith_training.network.network import Network, make_network
from tests.training.small import motion_recipe, random_scaling

CELLS = ["gru", "lstm", "rnn"]
LENGTHS = [50, 1, 33, 20]


def network_of(cell: str, *, bidirectional: bool = False) -> Network:
    """Two layers of four units behind a convolution."""
    settings = f'4\ncell = "{cell}"\nbidirectional = {str(bidirectional).lower()}'
    torch.manual_seed(1)
    convolution = "2\nconvolution = { kernel = 3, channels = 5 }"
    return random_scaling(make_network(motion_recipe(layers=convolution, hidden=settings)).eval())


def padded(padding: float) -> torch.Tensor:
    """Four streams of rows, each shorter one filled up."""
    rows = torch.randn((len(LENGTHS), max(LENGTHS), 6), generator=torch.Generator().manual_seed(0)) * 20
    for row, length in zip(rows, LENGTHS, strict=True):
        row[length:] = padding
    return rows


def own(posteriors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Only what is of the streams themselves."""
    return np.concatenate([rows[:length] for rows, length in zip(posteriors, LENGTHS, strict=True)])


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("cell", CELLS)
def test_padding_never_changes_a_result(cell: str, bidirectional: bool) -> None:
    network = network_of(cell, bidirectional=bidirectional)
    beside, other = (own(posteriors_of(network, padded(padding), LENGTHS)) for padding in (0.0, 1e3))
    np.testing.assert_array_equal(other, beside)
    streams = zip(padded(0.0), LENGTHS, strict=True)
    alone = [posteriors_of(network, row[None, :length])[0] for row, length in streams]
    np.testing.assert_allclose(beside, np.concatenate(alone), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_cut_anywhere_it_gives_the_same(cell: str) -> None:
    network, rows = network_of(cell), padded(0.0)
    with torch.inference_mode():
        whole, after = network(rows, network.fresh_state(4))
        state, parts = network.fresh_state(4), []
        for part in torch.split(rows, [1, 20, 1, 28], dim=1):
            logits, state = network(part, state)
            parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)
    assert state.keys() == after.keys() == network.fresh_state(4).keys()
    for name, value in after.items():
        torch.testing.assert_close(state[name], value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_only_a_bidirectional_one_hears_what_comes_later(cell: str) -> None:
    rows = padded(0.0)
    later = rows.clone()
    later[:, 30:] += 5
    for bidirectional in (False, True):
        network = network_of(cell, bidirectional=bidirectional)
        earlier, changed = (posteriors_of(network, each)[:, :30] for each in (rows, later))
        assert np.array_equal(earlier, changed) is not bidirectional
