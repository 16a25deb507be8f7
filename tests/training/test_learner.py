"""The learner: what one chunk does to the weights, and what it must not."""

from __future__ import annotations

import copy
from typing import Literal

import msgspec
import numpy as np
import pytest
import torch

from otolith_training.data.composer import Chunk
from otolith_training.learner import Learner, NotFiniteError, clip_gradients
from otolith_training.network.network import Network, detach, make_network
from otolith_training.recipe import Training
from tests.training.small import motion_recipe

UNCLIPPED = "50\nclip_norm = 1e6\nlabel_smoothing = 0.0"


def chunk(poisoned: int | None = None) -> Chunk:
    random = np.random.default_rng(0)
    frames = random.standard_normal((4, 50, 6)).astype(np.float32)
    if poisoned is not None:
        frames[poisoned, 10, 3] = np.nan
    allowed = np.zeros((4, 50, 4), bool)
    allowed[..., 1] = True
    return Chunk(frames, allowed, np.ones(4, bool))


def learner(optimizer: Literal["adamw", "muon"] = "adamw", **changes: str) -> Learner:
    torch.manual_seed(0)
    recipe = motion_recipe(**changes)
    training = msgspec.structs.replace(recipe.training, optimizer=optimizer)
    recipe = msgspec.structs.replace(recipe, training=training)
    return Learner(make_network(recipe), recipe)


def gradients(clipping: Training) -> tuple[float, torch.Tensor]:
    """The norm that was found, and all gradients as they were left."""
    network = make_network(motion_recipe())
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    norm = clip_gradients(network, clipping)
    return norm, torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_gradients_are_clipped_by_norm_or_by_value() -> None:
    training = motion_recipe().training
    norm, left = gradients(training)
    assert norm == pytest.approx(0.5 * len(left) ** 0.5)
    assert float(left.norm()) == pytest.approx(1.0, abs=1e-5)
    _, left = gradients(msgspec.structs.replace(training, clip_norm=0.25))
    assert float(left.norm()) == pytest.approx(0.25, abs=1e-5)
    found, left = gradients(msgspec.structs.replace(training, clip_value=0.1))
    assert found == pytest.approx(norm)
    torch.testing.assert_close(left, torch.full_like(left, 0.1))


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_truncated_back_propagation_is_the_full_one_where_the_chunk_is_the_sequence(cell: str) -> None:
    taught, sequence = learner(hidden=f'4\ncell = "{cell}"', chunk_frames=UNCLIPPED), chunk()
    full = copy.deepcopy(taught.network)
    state, said = full.fresh_state(4), []
    for frame in torch.from_numpy(sequence.frames).split(1, dim=1):  # by hand: frame by frame, and nothing is cut
        logits, state = full(frame, state)
        said.append(logits)
    torch.nn.functional.cross_entropy(torch.cat(said, dim=1).flatten(0, 1), torch.ones(200).long()).backward()
    taught.begin_epoch(1)
    taught.learn(sequence)
    for name, parameter in full.named_parameters():
        torch.testing.assert_close(taught.network.get_parameter(name).grad, parameter.grad, atol=1e-6, rtol=1e-4)


def test_gradients_reach_no_further_back_than_the_chunk_while_the_state_goes_on() -> None:
    """Of two chunks only what was heard in the second moves what its loss depends on; its state is of the first."""
    taught, sequence = learner(chunk_frames=UNCLIPPED), chunk()
    first, second = (sequence.frames[:, part] for part in (slice(25), slice(25, 50)))
    network = copy.deepcopy(taught.network)
    _, state = network(torch.from_numpy(first), network.fresh_state(4))
    logits, _ = network(torch.from_numpy(second), detach(state))
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.ones(100).long()).backward()
    taught.begin_epoch(1)
    taught.learn(Chunk(first, sequence.allowed[:, :25], np.ones(4, bool)))
    taught.network.load_state_dict(network.state_dict())
    taught.learn(Chunk(second, sequence.allowed[:, 25:], np.zeros(4, bool)))
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(taught.network.get_parameter(name).grad, parameter.grad, atol=1e-6, rtol=1e-4)


def test_a_stream_that_is_no_number_is_named_and_teaches_nothing() -> None:
    taught = learner()
    before = {name: value.clone() for name, value in taught.network.state_dict().items()}
    taught.begin_epoch(1)
    with pytest.raises(NotFiniteError, match="the loss is nan") as stopped:
        taught.learn(chunk(poisoned=2))
    assert stopped.value.streams == [2]
    for name, value in taught.network.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_gradient_that_is_no_number_teaches_nothing() -> None:
    taught = learner()
    taught.begin_epoch(1)
    network: Network = taught.network
    network.head.weight.register_hook(lambda gradient: gradient * torch.inf)
    before = network.head.weight.clone()
    with pytest.raises(NotFiniteError, match="the gradient's norm is"):
        taught.learn(chunk())
    assert torch.equal(network.head.weight, before)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_restored_learner_learns_on_as_the_one_it_was_taken_from(optimizer: Literal["adamw", "muon"]) -> None:
    one, other = learner(optimizer), learner(optimizer)
    one.begin_epoch(1)
    one.learn(chunk())
    other.restore(one.snapshot())
    for each in (one, other):
        each.begin_epoch(2)
    assert one.learn(chunk()) == other.learn(chunk())
    assert torch.equal(one.averaged.head.weight, other.averaged.head.weight)
