"""The tagging head: a label for every frame, from that frame's outputs alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from otolith_training.network.builder import Graph
from otolith_training.network.frontend import State
from otolith_training.network.heads.head import Array, Head


class TagHead(Head):
    """Linear, then softmax: logits `(streams, frames, labels)` to learn from, posteriors in the file."""

    output = "posteriors"

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        linear = nn.Linear(width, labels)
        self.weight, self.bias = linear.weight, linear.bias

    @property
    def output_shape(self) -> tuple[int, ...]:
        """A posterior a label."""
        return (len(self.bias),)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: ARG002 - nothing is carried
        """Logits."""
        return nn.functional.linear(x, self.weight, self.bias), {}

    def to_output(self, said: Tensor) -> Tensor:
        """Posteriors."""
        return torch.softmax(said, dim=-1)

    def relabelled(self, columns: Sequence[int]) -> Mapping[str, Tensor]:
        """A row of weights a label."""
        return {"weight": self.weight[list(columns)], "bias": self.bias[list(columns)]}

    def write(self, graph: Graph, x: str) -> None:
        """One multiplication and a softmax."""
        x = graph.add("MatMul", x, graph.constant("head.weight", self.weight.T))
        x = graph.add("Add", x, graph.constant("head.bias", self.bias))
        x = graph.add("Softmax", x, axis=-1)
        graph.add("Transpose", x, output=self.output, perm=[1, 0, 2])

    def read(self, constants: Mapping[str, Array]) -> Mapping[str, Array]:
        """Weight and bias."""
        return {"weight": constants["head.weight"].T, "bias": constants["head.bias"]}
