"""What a forecast is learned by: squared errors of scaled rows, under teacher forcing with a schedule."""

from __future__ import annotations

import torch
from torch import Tensor

from otolith_training.data.composer import Chunk
from otolith_training.network.frontend import State
from otolith_training.network.heads.forecast import ForecastHead
from otolith_training.network.network import Network
from otolith_training.recipe import Forecast

LEAST_ERROR = 1e-6  # of the linear path: what it foretells nearly without a mistake must not outweigh all else


def teacher_share(forecast: Forecast, done: float) -> float:
    """The share of the decoder's inputs that are true rows, when `done` (0..1) of the training is behind.

    It goes from the first figure of `teacher_forcing` to the second in a straight line (scheduled sampling: Bengio et
    al., 2015).
    """
    start, end = forecast.teacher_forcing
    return start + (end - start) * min(max(done, 0.0), 1.0)


def forecast_loss(network: Network, features: Tensor, state: State, chunk: Chunk, share: float) -> tuple[Tensor, State]:
    """The mean squared error of what is forecast behind each counted row, scaled; and the next state.

    `share` of the decoder's inputs, drawn one by one, are true rows: 1 is teacher forcing, 0 runs freely as in use.
    Where the head is told by a `relative` error, that of each row ahead is over the linear path's in the same chunk.
    """
    head = network.head
    assert isinstance(head, ForecastHead) and chunk.ahead is not None and chunk.counted is not None  # noqa: S101, PT018
    x, following = network.before_head(features, state)
    straight, carried = head.straight(x, state)
    truth = truth_of(features, network.frontend.scaled(torch.from_numpy(chunk.ahead).to(features.device)), head.horizon)
    steps = (*truth.shape[:2], head.horizon // head.stride)
    forced = torch.rand(steps, device=features.device) < share
    said = head.unroll(x, straight, truth, forced)
    counted = torch.from_numpy(chunk.counted).to(features.device)
    errors = _errors(said, truth, counted)
    if head.relative:
        errors = errors / _errors(straight, truth, counted).clamp(min=LEAST_ERROR)
    return errors.mean(), {**following, **carried}


def _errors(said: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """Mean squared errors of the rows ahead `(horizon,)`, over the counted frames and all channels."""
    error = (said - truth).square().mean(dim=3)  # (streams, frames, horizon)
    return torch.where(counted[..., None], error, 0.0).sum(dim=(0, 1)) / counted.sum().clamp(min=1)


def truth_of(rows: Tensor, ahead: Tensor, horizon: int) -> Tensor:
    """The `horizon` rows behind each of `rows`, `(streams, frames, horizon, channels)`; `ahead` follows them."""
    whole = torch.cat((rows, ahead[:, :horizon]), dim=1)
    return whole.unfold(1, horizon, 1)[:, 1:].permute(0, 1, 3, 2)
