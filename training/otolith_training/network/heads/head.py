"""The head: what a network says of its last layer's outputs; one file a task, in torch and in the graph.

A head steps like all else: its state is a value that goes in and comes out, and however the frames are cut it says the
same. Its state's names are its own; they stand on the model file as `state.<name>`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from otolith.inference.card import Card
from otolith_training.network.builder import Graph
from otolith_training.network.frontend import State

Array = NDArray[np.float64]


class Head(nn.Module, ABC):
    """What heads share. `forward` gives what is learned from, `to_output` makes of it what the file puts out."""

    output: ClassVar[str]  # the model file's name of what comes out
    sees_rows: ClassVar[bool] = False  # takes the scaled features beside the last layer's outputs, behind them
    has_own_dropout: ClassVar[bool] = False  # else its inputs are dropped for it, frame by frame

    @property
    @abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """What comes out a frame; the card's `output_shape`."""

    def fresh_state(self, streams: int) -> State:  # noqa: ARG002 - a head that carries something needs to know
        """What it carries before the first frame: nothing, or zeros `(streams, ...)`."""
        return {}

    @abstractmethod
    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """`(streams, frames, width)` to `(streams, frames, *output_shape)`, and its part of the next state."""

    def to_output(self, said: Tensor) -> Tensor:
        """What the file puts out where `forward` said this."""
        return said

    def relabelled(self, columns: Sequence[int]) -> Mapping[str, Tensor]:  # noqa: ARG002 - not all heads know labels
        """Its parameters for other labels, each of which begins as the one in its place in `columns` is."""
        return self.state_dict()

    def complete(self, card: Card) -> Card:
        """The card with what only the head knows."""
        return card

    @abstractmethod
    def write(self, graph: Graph, x: str) -> None:
        """Add the head to a graph whose `x` is `(frames, streams, width)`; it ends in a node named `output`."""

    @abstractmethod
    def read(self, constants: Mapping[str, Array]) -> Mapping[str, Array]:
        """Its parameters, by name, from the constants that `write` left in a file. Raises `KeyError`, `ValueError`."""


def set_parameters(module: nn.Module, values: Mapping[str, Array]) -> None:
    """Give parameters their values. Raises `ValueError` where a shape is another."""
    for name, value in values.items():
        parameter = module.get_parameter(name)
        if tuple(parameter.shape) != value.shape:
            raise ValueError(f"weights of shape {value.shape} where the recipe asks for others")
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
