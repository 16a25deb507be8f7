"""The network: scaled features become logits, one frame at a time if need be; its state is a value."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from otolith_training.network.frontend import Frontend, State, make_frontend
from otolith_training.recipe import Network as NetworkSettings
from otolith_training.recipe import Recipe


class Network(nn.Module):
    """Front end, an optional convolution over the last frames, unidirectional GRU layers, and a linear head."""

    def __init__(self, frontend: Frontend, settings: NetworkSettings, labels: int) -> None:
        super().__init__()
        self.frontend = frontend
        self.settings = settings
        width = frontend.features
        self.convolution: nn.Linear | None = None
        if settings.convolution is not None:
            self.convolution = nn.Linear(width * settings.convolution.kernel, settings.convolution.channels)
            width = settings.convolution.channels
        widths = [width] + [settings.hidden] * (settings.layers - 1)
        self.layers = nn.ModuleList(nn.GRU(w, settings.hidden, batch_first=True) for w in widths)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(settings.hidden, labels)

    def fresh_state(self, streams: int) -> State:
        """The state of streams that have heard nothing: zeros, `(streams, ...)` each."""
        state = self.frontend.fresh_state(streams)
        like = self.head.weight
        if self.settings.convolution is not None:
            past = self.settings.convolution.kernel - 1
            state["convolution"] = like.new_zeros(streams, past, self.frontend.features)
        for index in range(self.settings.layers):
            state[f"hidden_{index}"] = like.new_zeros(streams, self.settings.hidden)
        return state

    def forward(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits `(streams, frames, labels)` of raw frames, and the state behind the last."""
        features, following = self.frontend(frames, state)
        logits, rest = self.logits(features, state)
        return logits, {**following, **rest}

    def logits(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits of scaled features `(streams, frames, features)`, and the network's part of the next state."""
        following: State = {}
        x = features
        if self.convolution is not None and self.settings.convolution is not None:
            count, kernel = x.shape[1], self.settings.convolution.kernel
            past = torch.cat((state["convolution"], x), dim=1)  # (streams, kernel - 1 + frames, features)
            following["convolution"] = past[:, count:]
            seen = torch.cat([past[:, j : j + count] for j in range(kernel)], dim=2)
            x = torch.relu(self.convolution(seen))
        for index, layer in enumerate(self.layers):
            name = f"hidden_{index}"
            x, last = layer(self.dropout(x), state[name].unsqueeze(0).contiguous())
            following[name] = last.squeeze(0)
        return self.head(self.dropout(x)), following


def make_network(recipe: Recipe) -> Network:
    """A network with fresh weights, as the recipe asks for. Seed torch before."""
    return Network(make_frontend(recipe.frontend), recipe.network, len(recipe.all_labels))


def detach(state: State) -> State:
    """The same state, cut from the graph that made it: gradients reach back to here and no further."""
    return {name: value.detach() for name, value in state.items()}


def begin_afresh(state: State, fresh: Tensor) -> State:
    """The state with the streams marked in `fresh` `(streams,)` back at zero."""
    keep = ~fresh
    return {name: value * keep.view(-1, *[1] * (value.dim() - 1)).to(value.dtype) for name, value in state.items()}
