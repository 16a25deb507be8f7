"""The recurrent cells: GRU, LSTM and plain RNN, each in torch, in the graph, and read back from it.

What differs between them stands in one table: the order of the gates, which torch and ONNX do not share, and what is
carried from frame to frame. A layer's states are `hidden_<n>` and, where the cell has one, `cell_<n>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from otolith_training.network.builder import NEXT, Graph, to_array
from otolith_training.network.frontend import State
from otolith_training.recipe import CellName
from otolith_training.recipe import Network as NetworkSettings

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cell:
    """What is peculiar to a cell."""

    module: type[nn.GRU] | type[nn.LSTM] | type[nn.RNN]
    operator: str
    gates: tuple[int, ...]  # of ONNX, by their place in torch
    carried: tuple[str, ...]  # its states
    attributes: Mapping[str, Any] = field(default_factory=dict)


CELLS: dict[CellName, Cell] = {
    "gru": Cell(nn.GRU, "GRU", (1, 0, 2), ("hidden",), {"linear_before_reset": 1}),  # r z n; ONNX z r h
    "lstm": Cell(nn.LSTM, "LSTM", (0, 3, 1, 2), ("hidden", "cell")),  # i f g o; ONNX i o f c
    "rnn": Cell(nn.RNN, "RNN", (0,), ("hidden",)),  # of tanh, in both by default
}


def make_layer(settings: NetworkSettings, width: int) -> nn.RNNBase:
    """A layer with fresh weights over inputs of `width`."""
    module = CELLS[settings.cell].module
    return module(width, settings.hidden, batch_first=True, bidirectional=settings.bidirectional)


def cell_of(layer: nn.RNNBase) -> Cell:
    """The cell that a layer is of."""
    return next(cell for cell in CELLS.values() if isinstance(layer, cell.module))


def fresh_layer(layer: nn.RNNBase, name: str, streams: int) -> State:
    """A layer's states before the first frame: zeros `(streams, hidden)` each."""
    like = layer.get_parameter("weight_hh_l0")
    return {f"{part}_{name}": like.new_zeros(streams, layer.hidden_size) for part in cell_of(layer).carried}


def run_layer(
    layer: nn.RNNBase, x: Tensor, state: State, name: str, lengths: Tensor | None = None
) -> tuple[Tensor, State]:
    """A layer over `(streams, frames, inputs)`: its outputs `(streams, frames, hidden)`, and its next states.

    One that is bidirectional gives `(streams, frames, 2 * hidden)`. Its way back begins afresh at the end of what it is
    given, which `lengths` `(streams,)` tells where streams are padded: padding is not part of any stream.
    """
    carried = cell_of(layer).carried
    before = [state[f"{part}_{name}"].unsqueeze(0) for part in carried]
    if layer.bidirectional:
        before = [torch.cat((value, torch.zeros_like(value))) for value in before]
    before = [value.contiguous() for value in before]
    frames = x.shape[1]
    given = x if lengths is None else pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    out, after = layer(given, tuple(before) if len(before) > 1 else before[0])
    if lengths is not None:
        out, _ = pad_packed_sequence(out, batch_first=True, total_length=frames)
    values = after if isinstance(after, tuple) else (after,)
    return out, {f"{part}_{name}": value[0] for part, value in zip(carried, values, strict=True)}


def write_layer(graph: Graph, x: str, name: str, layer: nn.RNNBase, fold: Array) -> str:
    """The layer in a graph, over `(frames, streams, inputs)`; `fold` makes of its inputs what it was trained on."""
    cell, hidden = cell_of(layer), layer.hidden_size
    order = _rows(cell, hidden)
    trained = {part: to_array(value)[order] for part, value in layer.named_parameters()}
    constants = {
        "weight": trained["weight_ih_l0"] @ fold.T,
        "recurrence": trained["weight_hh_l0"],
        "bias": np.concatenate((trained["bias_ih_l0"], trained["bias_hh_l0"])),
    }
    states = [f"{part}_{name}" for part in cell.carried]
    before = [graph.add("Unsqueeze", graph.state(state, hidden), graph.ints(0)) for state in states]
    inputs = [graph.constant(f"{_prefix(cell, name)}.{part}", value[None]) for part, value in constants.items()]
    outputs = [f"{states[0]}.all", *(f"{state}.last" for state in states)]
    node = helper.make_node(cell.operator, [x, *inputs, "", *before], outputs, hidden_size=hidden, **cell.attributes)
    graph.nodes.append(node)
    for state, last in zip(states, outputs[1:], strict=True):
        graph.add("Squeeze", last, graph.ints(0), output=f"state.{state}{NEXT}")
    return graph.add("Squeeze", outputs[0], graph.ints(1))  # (frames, streams, hidden)


def read_layer(constants: Mapping[str, Array], name: str, layer: nn.RNNBase, unfold: Array) -> dict[str, Array]:
    """The layer's parameters by name, from what `write_layer` left in a file; `unfold` undoes its `fold`.

    Raises `KeyError` or `ValueError` where they are not there.
    """
    cell, hidden = cell_of(layer), layer.hidden_size
    order = np.argsort(_rows(cell, hidden))
    weight, recurrence, bias = (
        constants[f"{_prefix(cell, name)}.{part}"][0] for part in ("weight", "recurrence", "bias")
    )
    biases = bias.reshape(2, len(order))[:, order]
    return {
        "weight_ih_l0": weight[order] @ unfold.T,
        "weight_hh_l0": recurrence[order],
        "bias_ih_l0": biases[0],
        "bias_hh_l0": biases[1],
    }


def _rows(cell: Cell, hidden: int) -> NDArray[np.intp]:
    """Torch's rows of a weight in ONNX's order of gates."""
    return np.concatenate([np.arange(gate * hidden, (gate + 1) * hidden) for gate in cell.gates])


def _prefix(cell: Cell, name: str) -> str:
    return f"{cell.operator.lower()}_{name}"
