"""The optimizers: Muon's steps are of one size in every direction, and each weight is moved by one optimizer alone."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest
import torch

from otolith_training.network.network import make_network
from otolith_training.optimizer import STEP, Muon, make_optimizers, orthogonal
from otolith_training.recipe import Recipe
from tests.training.small import motion_recipe, sound_recipe

GATES = 3


def moved(gradient: torch.Tensor, gates: int = 1) -> torch.Tensor:
    """What one step at rate 1 makes of zeros that have this gradient."""
    weight = torch.nn.Parameter(torch.zeros_like(gradient))
    weight.grad = gradient.clone()
    Muon([{"params": [weight], "gates": gates}], lr=1.0, weight_decay=0.0).step()
    return weight.detach()


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 12, 5), (3, 5, 12)])
def test_singular_vectors_are_kept_and_singular_values_brought_near_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    turned = left.mT @ orthogonal(matrices) @ right.mT  # diagonal where the vectors are the same
    values = turned.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(turned, torch.diag_embed(values), atol=1e-3, rtol=0)
    assert 0.5 < float(values.min()) <= float(values.max()) < 1.3


def test_a_loud_gate_leaves_the_steps_of_the_others_as_they_were() -> None:
    torch.manual_seed(0)
    gradient = torch.randn(GATES * 6, 4)
    loud = gradient.clone()
    loud[:6] *= 1000
    torch.testing.assert_close(moved(loud, GATES), moved(gradient, GATES))
    assert not torch.allclose(moved(loud)[6:], moved(gradient)[6:], atol=1e-2)


@pytest.mark.parametrize("shape", [(120, 120), (120, 40), (40, 120)])
def test_a_step_is_as_large_as_adamw_makes_it(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    step = moved(torch.randn(shape) * 1e-3)
    assert float(step.square().mean().sqrt()) == pytest.approx(STEP, rel=0.25)


@pytest.mark.parametrize("recipe", [sound_recipe(), motion_recipe()], ids=["sound", "motion"])
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_each_weight_is_moved_by_one_optimizer(recipe: Recipe, name: Literal["adamw", "muon"]) -> None:
    network = make_network(recipe)
    training = msgspec.structs.replace(recipe.training, optimizer=name)
    optimizers = make_optimizers(network, training)
    taken = [weight for of in optimizers for group in of.param_groups for weight in group["params"]]
    assert len(taken) == len(list(network.parameters()))
    assert {id(weight) for weight in taken} == {id(weight) for weight in network.parameters()}
    muon = [weight for of in optimizers[1:] for group in of.param_groups for weight in group["params"]]
    assert bool(muon) == (name == "muon")
    assert all(weight.dim() == 2 and weight is not network.head.weight for weight in muon)
