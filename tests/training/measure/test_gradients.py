"""Gradients through time: what is found is what a change to the past does to the loss of now."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from otolith_training.data.composer import Chunk
from otolith_training.measure.gradients import gradients_through_time, reach
from otolith_training.network.network import Network, make_network
from tests.training.small import motion_recipe

FRAMES = 20


def network_of(cell: str) -> Network:
    torch.manual_seed(3)
    return make_network(motion_recipe(hidden=f'4\ncell = "{cell}"')).eval()


def chunks(count: int, streams: int = 1) -> list[Chunk]:
    random = np.random.default_rng(0)
    allowed = np.zeros((streams, FRAMES, 4), bool)
    allowed[..., 2] = True
    frames = [random.standard_normal((streams, FRAMES, 6)).astype(np.float32) for _ in range(count)]
    return [Chunk(each, allowed, np.full(streams, number == 0)) for number, each in enumerate(frames)]


def last_loss(network: Network, heard: list[Chunk], second: torch.Tensor) -> float:
    with torch.no_grad():
        _, state = network(torch.from_numpy(heard[0].frames), network.fresh_state(1))
        logits, _ = network(second, state)
    return float(-torch.log_softmax(logits[0, -1].double(), dim=0)[2])


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_they_are_what_a_small_change_does(cell: str) -> None:
    network, heard = network_of(cell), chunks(2)
    norms = gradients_through_time(network, heard)
    second, step = torch.from_numpy(heard[1].frames), 2e-2
    for ago in (0, 1, 3):
        slopes = []
        for channel in range(6):
            more, less = second.clone(), second.clone()
            more[0, -1 - ago, channel] += step
            less[0, -1 - ago, channel] -= step
            slopes.append((last_loss(network, heard, more) - last_loss(network, heard, less)) / (2 * step))
        assert norms[ago] == pytest.approx(np.linalg.norm(slopes), rel=0.02)


def test_where_nothing_is_carried_nothing_older_matters() -> None:
    network = network_of("rnn")
    with torch.no_grad():
        network.recurrent[0].get_parameter("weight_hh_l0").zero_()
    norms = gradients_through_time(network, chunks(3, streams=4))
    assert norms.shape == (FRAMES,)
    assert norms[0] > 0
    assert not norms[1:].any()
    assert reach(norms) == 1


def test_a_gradient_is_lost_behind_the_last_frame_that_keeps_a_hundredth() -> None:
    assert reach(np.array([1.0, 0.005, 0.02, 0.009, 0.001])) == 3
    assert reach(np.array([1.0, 1.0, 0.01])) is None
    assert reach(np.zeros(3)) == 0


def test_the_network_is_left_as_it_was() -> None:
    network = network_of("gru").train()
    gradients_through_time(network, chunks(2))
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
