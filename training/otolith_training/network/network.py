"""The network: scaled features become what its task asks for, one frame at a time if need be; its state is a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from otolith_training.network.cells import fresh_layer, make_layer, run_layer
from otolith_training.network.frontend import Frontend, State, make_frontend
from otolith_training.network.heads.classify import ClassifyHead
from otolith_training.network.heads.forecast import ForecastHead
from otolith_training.network.heads.head import Head
from otolith_training.network.heads.tag import TagHead
from otolith_training.recipe import Network as NetworkSettings
from otolith_training.recipe import Recipe, Rows


class Network(nn.Module):
    """Front end, an optional convolution over the last frames, recurrent layers, and a head.

    It looks only backwards, and can be stepped, unless its settings say `bidirectional`.
    """

    def __init__(self, frontend: Frontend, settings: NetworkSettings, make_head: Callable[[int], Head]) -> None:
        super().__init__()
        self.frontend = frontend
        self.settings = settings
        width = frontend.features
        self.convolution: nn.Linear | None = None
        if settings.convolution is not None:
            self.convolution = nn.Linear(width * settings.convolution.kernel, settings.convolution.channels)
            width = settings.convolution.channels
        outputs = settings.hidden * (2 if settings.bidirectional else 1)
        widths = [width] + [outputs] * (settings.layers - 1)
        self.layers = nn.ModuleList(make_layer(settings, w) for w in widths)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = make_head(outputs)  # last, so that a seed draws the layers' weights whatever the head

    @property
    def recurrent(self) -> list[nn.RNNBase]:
        """The recurrent layers, the first one first."""
        return [cast("nn.RNNBase", layer) for layer in self.layers]

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def fresh_state(self, streams: int) -> State:
        """The state of streams that have heard nothing: zeros, `(streams, ...)` each."""
        state = self.frontend.fresh_state(streams)
        if self.settings.convolution is not None:
            past = self.settings.convolution.kernel - 1
            like = self.recurrent[0].get_parameter("weight_hh_l0")
            state["convolution"] = like.new_zeros(streams, past, self.frontend.features)
        for index, layer in enumerate(self.recurrent):
            state |= fresh_layer(layer, str(index), streams)
        return state | self.head.fresh_state(streams)

    def forward(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """What the head says (logits) of raw frames `(streams, frames, ...)`, and the state behind the last."""
        features, following = self.frontend(frames, state)
        logits, rest = self.logits(features, state)
        return logits, {**following, **rest}

    def logits(self, features: Tensor, state: State, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """What the head says of scaled features `(streams, frames, features)`, and all but the front end's next state.

        `lengths` `(streams,)` tells how many of the frames are a stream's own where it is padded. A network that looks
        only backwards says the same of those without it.
        """
        x, following = self.before_head(features, state, lengths)
        said, carried = self.head(x, state)
        return said, {**following, **carried}

    def before_head(self, features: Tensor, state: State, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """What the head takes, `(streams, frames, ...)`, and the body's part of the next state."""
        x, following = self.body(features, state, lengths)
        x = x if self.head.has_own_dropout else self.dropout(x)
        return (torch.cat((x, features), dim=-1) if self.head.sees_rows else x), following

    def body(self, features: Tensor, state: State, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """The last layer's outputs `(streams, frames, width)` of scaled features, and its part of the next state."""
        following: State = {}
        x = features
        if self.convolution is not None and self.settings.convolution is not None:
            count, kernel = x.shape[1], self.settings.convolution.kernel
            past = torch.cat((state["convolution"], x), dim=1)  # (streams, kernel - 1 + frames, features)
            following["convolution"] = past[:, count:]
            seen = torch.cat([past[:, j : j + count] for j in range(kernel)], dim=2)
            x = torch.relu(self.convolution(seen))
        is_dropped = self.frontend.has_own_dropout and self.convolution is None
        for index, layer in enumerate(self.recurrent):
            given = x if is_dropped and index == 0 else self.dropout(x)
            x, carried = run_layer(layer, given, state, str(index), lengths)
            following |= carried
        return x, following


def make_network(recipe: Recipe) -> Network:
    """A network with fresh weights, as the recipe asks for. Seed torch before."""
    return Network(make_frontend(recipe.frontend), recipe.network, lambda width: make_head(recipe, width))


def make_head(recipe: Recipe, width: int) -> Head:
    """The head of the recipe's task, over outputs of `width`."""
    match recipe.task:
        case "tag":
            return TagHead(width, len(recipe.all_labels))
        case "classify":
            return ClassifyHead(width, len(recipe.all_labels), recipe.network.pool, recipe.network.dropout)
        case "forecast":
            if recipe.forecast is None:  # of the next token: posteriors, as of labels
                return TagHead(width, len(recipe.all_labels))
            assert isinstance(recipe.frontend, Rows)  # noqa: S101 - the recipe was checked for it
            return ForecastHead(width, len(recipe.frontend.channels), recipe.forecast)


def detach(state: State) -> State:
    """The same state, cut from the graph that made it: gradients reach back to here and no further."""
    return {name: value.detach() for name, value in state.items()}


def begin_afresh(state: State, fresh: Tensor) -> State:
    """The state with the streams marked in `fresh` `(streams,)` back at zero."""
    keep = ~fresh
    return {name: value * keep.view(-1, *[1] * (value.dim() - 1)).to(value.dtype) for name, value in state.items()}
