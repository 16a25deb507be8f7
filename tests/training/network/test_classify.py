"""The classifying head: pooled over what was heard, the same in torch and in the file, and blind to padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otolith_training.network.cards import make_card
from otolith_training.network.export import export
from otolith_training.network.heads.classify import ClassifyHead
from otolith_training.network.network import Network, make_network
from otolith_training.network.restore import restore
from tests.training.small import sentence_recipe

POOLS = ['["last"]', '["mean"]', '["max"]', '["last", "mean", "max"]']


def network_of(pool: str) -> Network:
    torch.manual_seed(0)
    network = make_network(sentence_recipe(pool=pool)).eval()
    with torch.no_grad():
        network.head.weight.mul_(8)
    return network


@pytest.mark.parametrize("pool", POOLS)
def test_what_is_exported_agrees_with_torch_and_comes_back_from_its_file(pool: str, tmp_path: Path) -> None:
    network, recipe = network_of(pool), sentence_recipe(pool=pool)
    ids = np.random.default_rng(0).integers(0, 6, 300)
    export(network, make_card(recipe, ""), [ids], tmp_path / "model.onnx")  # raises where any way disagrees
    again = restore(tmp_path / "model.onnx", recipe)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)


@pytest.mark.parametrize("pool", POOLS)
@given(ids=st.lists(st.integers(0, 5), min_size=1, max_size=20), padding=st.lists(st.integers(0, 5), max_size=20))
@settings(max_examples=15, deadline=None)
def test_padding_changes_no_result(pool: str, ids: list[int], padding: list[int]) -> None:
    network = network_of(pool)
    with torch.inference_mode():
        alone, _ = network(torch.tensor([ids]), network.fresh_state(1))
        padded, _ = network(torch.tensor([ids + padding, padding + ids]), network.fresh_state(2))
    torch.testing.assert_close(padded[:1, : len(ids)], alone, atol=1e-6, rtol=0)


def test_the_mean_is_that_of_all_frames_so_far_and_the_maximum_close_to_theirs() -> None:
    head = ClassifyHead(2, 2, ["mean", "max"])
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]))  # the first of each
        head.bias.zero_()
    x = torch.tensor([[[0.9, 0.0], [-0.5, 0.0], [0.2, 0.0]]])
    with torch.inference_mode():
        said, _ = head(x, head.fresh_state(1))
    torch.testing.assert_close(said[0, :, 0], torch.tensor([0.9, 0.2, 0.2]))
    assert said[0, 0, 1] == pytest.approx(0.9)
    assert 0.6 < float(said[0, 2, 1]) < 0.9  # log-mean-exp: below the maximum, far above the mean
