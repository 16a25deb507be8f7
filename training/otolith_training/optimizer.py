"""The optimizers: AdamW for every weight, or Muon for the matrices inside a network and AdamW for the rest.

Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) moves a matrix by its momentum with all singular
values brought near one, so that what is seldom asked for is learned as fast as what every frame asks for. Its steps are
as large as AdamW's are (Liu et al., 2025, "Muon is Scalable for LLM Training"), so one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from otolith_training.network.cells import cell_of
from otolith_training.network.network import Network
from otolith_training.recipe import Training

MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's quintic: steep at zero, and near enough to one elsewhere
ITERATIONS = 5
STEP = 0.2  # root mean square of an AdamW step, in learning rates


class Muon(torch.optim.Optimizer):
    """Steps of one size in every direction; each group of parameters says how many `gates` its matrices hold."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, weight_decay: float) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "gates": 1})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002 - torch's own name for it
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                momentum.lerp_(matrix.grad, 1 - MOMENTUM)
                ahead = matrix.grad.lerp(momentum, MOMENTUM)  # Nesterov's
                gates = ahead.view(group["gates"], -1, ahead.shape[1])
                size = STEP * max(gates.shape[1:]) ** 0.5
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(orthogonal(gates).view_as(matrix), alpha=-group["lr"] * size)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices `(n, rows, columns)` with their singular vectors kept and all singular values between 0.7 and 1.2."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


def make_optimizers(network: Network, training: Training) -> list[torch.optim.Optimizer]:
    """What moves the network's weights, each of them once; the rate is the highest of the schedule."""
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "adamw":
        return [torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)]
    recurrent = [weight for layer in network.recurrent for weight in layer.parameters() if weight.dim() == 2]
    gates = len(cell_of(network.recurrent[0]).gates)  # one upon the other in a matrix; each is its own to Muon
    groups: list[dict[str, Any]] = [{"params": recurrent, "gates": gates}]
    if network.convolution is not None:
        groups.append({"params": [network.convolution.weight], "gates": 1})
    taken = {id(weight) for group in groups for weight in group["params"]}
    rest = [weight for weight in network.parameters() if id(weight) not in taken]  # biases, and the head
    return [torch.optim.AdamW(rest, lr=rate, weight_decay=decay), Muon(groups, rate, decay)]


def one_cycle(optimizer: torch.optim.Optimizer, training: Training) -> torch.optim.lr_scheduler.OneCycleLR:
    """The rate's rise and long fall (Smith and Topin, 2019); AdamW's first moment goes the other way, Muon's stays."""
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        training.learning_rate,
        total_steps=max(1, training.epochs * training.steps_per_epoch),  # some paths are fitted, not learned
        pct_start=training.warm_up,
        cycle_momentum="betas" in optimizer.defaults,
    )
