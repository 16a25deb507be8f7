"""The classifying head: one label for all that was heard since the fresh start, told anew at each frame.

What it looks at is pooled over the frames so far, by sums that are carried in the state. They are added up frame by
frame, so a stream says the same however it is cut, and no frame behind the last is part of any: padding adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from otolith_training.network.builder import NEXT, Graph
from otolith_training.network.frontend import State
from otolith_training.network.heads.head import Array, Head
from otolith_training.recipe import Pool

SHARPNESS = 5.0  # of the smooth maximum: log-mean-exp; outputs lie within -1..1, so exp stays within 0.007..150


class ClassifyHead(Head):
    """Pooled outputs, linear, softmax: logits `(streams, frames, labels)` to learn from, posteriors in the file."""

    output = "posteriors"
    has_own_dropout = True

    def __init__(self, width: int, labels: int, pool: Sequence[Pool], dropout: float = 0.0) -> None:
        super().__init__()
        self.pool, self.width = tuple(pool), width
        linear = nn.Linear(width * len(self.pool), labels)
        self.weight, self.bias = linear.weight, linear.bias
        self.dropout = nn.Dropout(dropout)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """A posterior a label."""
        return (len(self.bias),)

    def fresh_state(self, streams: int) -> State:
        """No frame counted, nothing summed."""
        names = [f"pooled_{pool}" for pool in self.pool if pool != "last"]
        state = {name: self.weight.new_zeros(streams, self.width) for name in names}
        return {**state, "pooled_frames": self.weight.new_zeros(streams, 1)} if state else {}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits."""
        parts: list[Tensor] = []
        following: State = {}
        if "pooled_frames" in state:
            frames, following["pooled_frames"] = _add_up(torch.ones_like(x[..., :1]), state["pooled_frames"])
        for pool in self.pool:
            if pool == "last":
                parts.append(x)
                continue
            values = x if pool == "mean" else torch.exp(SHARPNESS * x)
            sums, following[f"pooled_{pool}"] = _add_up(values, state[f"pooled_{pool}"])
            mean = sums / frames
            parts.append(mean if pool == "mean" else torch.log(mean) / SHARPNESS)
        pooled = self.dropout(torch.cat(parts, dim=-1))
        return nn.functional.linear(pooled, self.weight, self.bias), following

    def to_output(self, said: Tensor) -> Tensor:
        """Posteriors."""
        return torch.softmax(said, dim=-1)

    def relabelled(self, columns: Sequence[int]) -> Mapping[str, Tensor]:
        """A row of weights a label."""
        return {"weight": self.weight[list(columns)], "bias": self.bias[list(columns)]}

    def write(self, graph: Graph, x: str) -> None:
        """A running sum for each thing that is pooled, one multiplication and a softmax."""
        frames = ""
        if set(self.pool) != {"last"}:
            zeros = graph.add("Mul", graph.slice(x, 2, 0, 1), graph.constant("head.zero", np.zeros(1)))
            ones = graph.add("Add", zeros, graph.constant("head.one", np.ones(1)))
            frames = self._write_sum(graph, ones, "pooled_frames", 1)
        parts = [x if pool == "last" else self._write_pool(graph, x, pool, frames) for pool in self.pool]
        x = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=2)
        x = graph.add("MatMul", x, graph.constant("head.weight", self.weight.T))
        x = graph.add("Add", x, graph.constant("head.bias", self.bias))
        x = graph.add("Softmax", x, axis=-1)
        graph.add("Transpose", x, output=self.output, perm=[1, 0, 2])

    def _write_pool(self, graph: Graph, x: str, pool: Pool, frames: str) -> str:
        if pool == "mean":
            return graph.add("Div", self._write_sum(graph, x, "pooled_mean", self.width), frames)
        sharpness = graph.constant("head.sharpness", np.full(1, SHARPNESS))
        powers = graph.add("Exp", graph.add("Mul", x, sharpness))
        mean = graph.add("Div", self._write_sum(graph, powers, "pooled_max", self.width), frames)
        return graph.add("Div", graph.add("Log", mean), sharpness)

    def _write_sum(self, graph: Graph, x: str, name: str, width: int) -> str:
        """`(frames, streams, width)` added up over the frames, from what is carried on."""
        carried = graph.add("Unsqueeze", graph.state(name, width), graph.ints(0))
        axis = graph.constant("head.axis", np.array(0))
        sums = graph.add("CumSum", graph.add("Concat", carried, x, axis=0), axis)
        last = graph.slice(sums, 0, -1)
        graph.add("Squeeze", last, graph.ints(0), output=f"state.{name}{NEXT}")
        return graph.slice(sums, 0, 1)

    def read(self, constants: Mapping[str, Array]) -> Mapping[str, Array]:
        """Weight and bias."""
        return {"weight": constants["head.weight"].T, "bias": constants["head.bias"]}


def _add_up(x: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
    """Running sums of `(streams, frames, width)`, the first of which begins from `carried`, and the last of them."""
    sums = torch.cumsum(torch.cat((carried.unsqueeze(1), x), dim=1), dim=1)[:, 1:]
    return sums, sums[:, -1]
