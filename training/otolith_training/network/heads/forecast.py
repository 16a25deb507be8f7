"""The forecasting head: a linear path over the look-back, and a decoder that unrolls the horizon upon it.

The linear path holds most of what can be known (Zeng et al., "Are transformers effective for time series
forecasting?", AAAI 2023) and is fitted in closed form (`linear.py`); the decoder, an LSTM that begins where the encoder
stands and is fed its own last word (Sutskever et al., 2014), learns what that leaves. It is an LSTM whatever the
encoder's cell: its gates are linear in what it is fed, and that is linear in its hidden state, so in the graph its own
feedback is folded into its recurrence and the whole horizon is one node.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import torch
from onnx import helper
from torch import Tensor, nn

from otolith.inference.card import Card
from otolith.inference.card import Forecast as ForecastPromise
from otolith_training.network.builder import NEXT, Graph, to_array
from otolith_training.network.cells import CELLS
from otolith_training.network.frontend import State
from otolith_training.network.heads.head import Array, Head
from otolith_training.recipe import Forecast

STRAIGHT = ("taps", "offset", "scale")  # what is fitted in closed form, and not by gradients
GATES = CELLS["lstm"].gates


class ForecastHead(Head):
    """Forecasts `(streams, frames, horizon, channels)`: scaled to learn from, in the channels' own units in the file.

    It takes the encoder's outputs and, beside them, the scaled rows. Before a stream's first row its look-back is as
    if that row had always been.
    """

    output = "forecast"
    sees_rows = True

    def __init__(self, width: int, channels: int, settings: Forecast) -> None:
        super().__init__()
        self.horizon, self.look_back, self.channels = settings.horizon, settings.look_back, channels
        self.stride, self.relative = settings.stride, settings.relative
        told = settings.stride * channels  # what each step of the decoder tells, and is fed
        self.first = nn.Linear(width, 2 * settings.hidden)  # the decoder's first state, of the encoder's last
        self.decoder = nn.LSTMCell(told, settings.hidden)
        self.told = nn.Linear(settings.hidden, told)
        nn.init.zeros_(self.told.weight)  # it begins as the linear path, and learns what that leaves
        nn.init.zeros_(self.told.bias)
        taps = torch.zeros(channels, settings.horizon, settings.look_back)
        taps[..., -1] = 1.0  # until it is fitted: the last row, again and again
        self.taps = nn.Parameter(taps, requires_grad=False)
        self.offset = nn.Parameter(torch.zeros(channels), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(channels), requires_grad=False)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Rows ahead, and their channels."""
        return (self.horizon, self.channels)

    def fresh_state(self, streams: int) -> State:
        """No look-back yet."""
        past = self.taps.new_zeros(streams, self.look_back - 1, self.channels)
        return {"look_back": past, "begun": self.taps.new_zeros(streams, 1)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Scaled forecasts."""
        straight, following = self.straight(x, state)
        return self.unroll(x, straight), following

    def straight(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """What the linear path says, `(streams, frames, horizon, channels)`, and the next state."""
        rows = x[..., -self.channels :]
        fill = (1 - state["begun"])[:, :, None] * rows[:, :1]
        past = torch.cat((state["look_back"] + fill, rows), dim=1)  # (streams, look_back - 1 + frames, channels)
        weight = self.taps.flatten(0, 1)[:, None]  # (channels * horizon, 1, look_back)
        said = nn.functional.conv1d(past.transpose(1, 2), weight, groups=self.channels)
        said = said.reshape(len(x), self.channels, self.horizon, -1).permute(0, 3, 2, 1)
        return said, {"look_back": past[:, rows.shape[1] :], "begun": torch.ones_like(state["begun"])}

    def unroll(self, x: Tensor, straight: Tensor, truth: Tensor | None = None, forced: Tensor | None = None) -> Tensor:
        """The decoder's forecasts upon the linear path's.

        It is fed its own last word, as it always is in use; in training, where `forced` (bool, `(streams, frames,
        horizon / stride)`) says so, the true rows of `truth` (as `straight`) in its stead: teacher forcing, after
        Williams and Zipser, 1989. What it is fed is told as the difference from the row it forecasts behind.
        """
        count = straight[:, :, 0, 0].numel()
        last = x[..., -self.channels :].reshape(count, self.channels).repeat(1, self.stride)
        lines = straight.reshape(count, -1, last.shape[1])  # (streams * frames, steps, told at once)
        right = lines if truth is None else truth.reshape(lines.shape)
        hidden, cell = self.first(x[..., : -self.channels]).reshape(count, -1).chunk(2, dim=-1)
        hidden, fed = torch.tanh(hidden), torch.zeros_like(last)
        said = []
        for step in range(lines.shape[1]):
            hidden, cell = self.decoder(fed, (hidden, cell))
            now = lines[:, step] + self.told(hidden)
            said.append(now)
            if forced is not None:
                now = torch.where(forced.reshape(count, -1)[:, step, None], right[:, step], now)
            fed = now - last
        return torch.stack(said, dim=1).reshape(straight.shape)

    def to_output(self, said: Tensor) -> Tensor:
        """In the channels' own units."""
        return said * self.scale + self.offset

    def complete(self, card: Card) -> Card:
        """With the horizon, and what a scaled unit is worth."""
        scale = [float(value) for value in self.scale]
        return msgspec.structs.replace(card, forecast=ForecastPromise(self.horizon, scale))

    def write(self, graph: Graph, x: str) -> None:
        """One convolution, one LSTM over the horizon, and what joins them; `x` is `(frames, streams, width + rows)`.

        A decoder that was never taught adds nothing, and is left out: each row would wait for it.
        """
        rows = graph.slice(x, 2, -self.channels)  # (frames, streams, channels)
        said = straight = self._write_straight(graph, rows)  # (steps, frames * streams, told at once)
        if not self._adds_nothing:
            told = self._write_decoder(graph, graph.slice(x, 2, 0, -self.channels), rows, straight)
            said = graph.add("Add", straight, told)
        shape = graph.add("Shape", x, start=0, end=2)
        steps, within = graph.ints(self.horizon // self.stride), graph.ints(self.stride, self.channels)
        said = graph.add("Reshape", said, graph.add("Concat", steps, shape, within, axis=0))
        said = graph.add("Transpose", said, perm=[2, 1, 0, 3, 4])  # (streams, frames, steps, stride, channels)
        said = graph.add("Reshape", said, graph.ints(0, 0, self.horizon, self.channels))
        said = graph.add("Mul", said, graph.constant("forecast.scale", self.scale))
        graph.add("Add", said, graph.constant("forecast.offset", self.offset), output=self.output)

    @property
    def _adds_nothing(self) -> bool:
        """Is it the linear path alone, as at first?"""
        return not (self.told.weight.any() or self.told.bias.any())

    def _write_straight(self, graph: Graph, rows: str) -> str:
        rows = graph.add("Transpose", rows, perm=[1, 0, 2])  # (streams, frames, channels)
        one, begun = graph.constant("one", np.ones(1)), graph.state("begun", 1)
        graph.add("Max", begun, one, output=f"state.begun{NEXT}")
        unbegun = graph.add("Unsqueeze", graph.add("Sub", one, begun), graph.ints(2))
        fill = graph.add("Mul", unbegun, graph.slice(rows, 1, 0, 1))
        past = graph.add("Add", graph.state("look_back", self.look_back - 1, self.channels), fill)
        past = graph.add("Concat", past, rows, axis=1)
        graph.slice(past, 1, 1 - self.look_back, output=f"state.look_back{NEXT}")
        past = graph.add("Transpose", past, perm=[0, 2, 1])
        taps = graph.constant("forecast.taps", self.taps.flatten(0, 1)[:, None])
        said = graph.add("Conv", past, taps, group=self.channels)  # (streams, channels * horizon, frames)
        steps = self.horizon // self.stride
        said = graph.add("Transpose", said, perm=[2, 0, 1])  # (frames, streams, channels * horizon)
        said = graph.add("Reshape", said, graph.ints(-1, self.channels, steps, self.stride))
        said = graph.add("Transpose", said, perm=[2, 0, 3, 1])
        return graph.add("Reshape", said, graph.ints(steps, -1, self.stride * self.channels))

    def _write_decoder(self, graph: Graph, seen: str, rows: str, straight: str) -> str:
        first = graph.add("MatMul", seen, graph.constant("first.weight", self.first.weight.T))
        first = graph.add("Add", first, graph.constant("first.bias", self.first.bias))
        hidden_size = self.decoder.hidden_size
        state = graph.add("Reshape", first, graph.ints(1, -1, 2 * hidden_size))
        hidden = graph.add("Tanh", graph.slice(state, 2, 0, hidden_size))
        cell = graph.slice(state, 2, hidden_size)
        fed = graph.add("Neg", self._write_told(graph, hidden))  # takes back what the fold says before the first row
        if self.horizon > self.stride:
            last = graph.add("Reshape", rows, graph.ints(1, -1, self.channels))
            last = graph.add("Concat", *[last] * self.stride, axis=2)
            rest = graph.add("Sub", graph.slice(straight, 0, 0, -1), last)
            fed = graph.add("Concat", fed, rest, axis=0)
        weights = [graph.constant(f"decoder.{part}", value[None]) for part, value in self._folded().items()]
        node = helper.make_node("LSTM", [fed, *weights, "", hidden, cell], ["decoder.all"], hidden_size=hidden_size)
        graph.nodes.append(node)
        return self._write_told(graph, graph.add("Squeeze", "decoder.all", graph.ints(1)))

    def _write_told(self, graph: Graph, hidden: str) -> str:
        told = graph.add("MatMul", hidden, graph.constant("told.weight", self.told.weight.T))
        return graph.add("Add", told, graph.constant("told.bias", self.told.bias))

    def _folded(self) -> dict[str, Array]:
        """The decoder's weights, with what it says of itself folded into its recurrence."""
        weight, told = to_array(self.decoder.weight_ih), to_array(self.told.weight)
        recurrence = to_array(self.decoder.weight_hh) + weight @ told
        bias = to_array(self.decoder.bias_ih) + weight @ to_array(self.told.bias)
        order = self._order()
        biases = np.concatenate((bias[order], to_array(self.decoder.bias_hh)[order]))
        return {"weight": weight[order], "recurrence": recurrence[order], "bias": biases}

    def read(self, constants: Mapping[str, Array]) -> Mapping[str, Array]:
        """Everything, unfolded."""
        straight = {
            "taps": constants["forecast.taps"].reshape(self.taps.shape),
            "offset": constants["forecast.offset"],
            "scale": constants["forecast.scale"],
        }
        if "decoder.weight" not in constants:
            return {name: to_array(value) for name, value in self.named_parameters()} | straight
        order = np.argsort(self._order())
        told, told_bias = constants["told.weight"].T, constants["told.bias"]
        weight = constants["decoder.weight"][0][order]
        bias, bias_hh = constants["decoder.bias"].reshape(2, -1)[:, order]
        return {
            "first.weight": constants["first.weight"].T,
            "first.bias": constants["first.bias"],
            "decoder.weight_ih": weight,
            "decoder.weight_hh": constants["decoder.recurrence"][0][order] - weight @ told,
            "decoder.bias_ih": bias - weight @ told_bias,
            "decoder.bias_hh": bias_hh,
            "told.weight": told,
            "told.bias": told_bias,
            **straight,
        }

    def _order(self) -> Array:
        hidden = self.decoder.hidden_size
        return np.concatenate([np.arange(gate * hidden, (gate + 1) * hidden) for gate in GATES])
