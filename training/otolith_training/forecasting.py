"""Forecasting: what a recipe's series give to learn from, what is fitted before the first step, and the rehearsal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from otolith.errors import OtolithError
from otolith_training.data.datasets import Run
from otolith_training.data.material import Items
from otolith_training.data.spans import SpanComposer
from otolith_training.measure.rehearse import CHUNK, Metrics
from otolith_training.network.forecast_loss import truth_of
from otolith_training.network.frontend import fit_scaling
from otolith_training.network.heads.forecast import ForecastHead
from otolith_training.network.linear import fit_taps
from otolith_training.network.network import Network
from otolith_training.recipe import Recipe, Rows


class SeriesCourse:
    """Training streams by epoch, what is fitted before the first step, and the rehearsal. Raises `OtolithError`."""

    def __init__(self, recipe: Recipe, items: Items) -> None:
        assert recipe.forecast is not None  # noqa: S101 - the recipe was checked for it
        self._recipe, self._forecast = recipe, recipe.forecast
        series = [item for item in items if isinstance(item, Run)]
        self._learned = _of_split(series, "train", recipe)
        held_out = _of_split(series, "dev", recipe) if recipe.training.epochs else []
        self.rehearsal = ForecastRehearsal(held_out, recipe.forecast.horizon)

    def streams(self, epoch: int) -> SpanComposer:
        """An epoch's streams."""
        training = self._recipe.training
        return SpanComposer(
            self._learned,
            look_back=self._forecast.look_back,
            horizon=self._forecast.horizon,
            streams=training.batch,
            frames=training.chunk_frames,
            fresh_start=training.fresh_start,
            seed=(training.seed, epoch),
        )

    def prepare(self, network: Network) -> None:
        """Set the scaling, and fit the linear path in closed form."""
        prepare(network, self._recipe, self._learned)


def prepare(network: Network, recipe: Recipe, series: Sequence[Run]) -> None:
    """Set the scaling from all training rows, and fit the linear path in closed form."""
    head, forecast = network.head, recipe.forecast
    assert isinstance(head, ForecastHead) and forecast is not None and isinstance(recipe.frontend, Rows)  # noqa: S101, PT018
    values = torch.from_numpy(np.concatenate([run.values for run in series]))
    fit_scaling(network.frontend, values.to(network.device), recipe.frontend.scaling)
    offset, factor = (tensor.cpu().double().numpy() for tensor in (network.frontend.offset, network.frontend.factor))
    taps = fit_taps([(run.values.astype(np.float64) - offset) * factor for run in series], forecast)
    with torch.no_grad():
        head.taps.copy_(torch.from_numpy(taps))
        head.offset.copy_(network.frontend.offset)
        head.scale.copy_(1 / network.frontend.factor)


class ForecastRehearsal:
    """Held-out series from a fresh start at their history, every row's forecast against what came."""

    def __init__(self, series: Sequence[Run], horizon: int) -> None:
        self._series, self._horizon = series, horizon

    def __call__(self, network: Network) -> Metrics:
        """Errors of scaled values, over all rows, steps ahead and channels; nothing where nothing is held out."""
        if not self._series:
            return {}
        squares, absolutes, count = 0.0, 0.0, 0
        for run in self._series:
            rows = network.frontend.scaled(torch.from_numpy(run.values).to(network.device))[None]
            said = forecasts_of(network, rows)
            first, last = max(run.history - 1, 0), rows.shape[1] - self._horizon
            truth = truth_of(rows[:, :last], rows[:, last:], self._horizon)
            error = (said[:, first:last] - truth[:, first:last]).double()
            squares, absolutes = squares + float(error.square().sum()), absolutes + float(error.abs().sum())
            count += error.numel()
        if not count:
            raise OtolithError("the dev series are shorter than the horizon; hold longer ones out, or shorten it")
        mse, mae = squares / count, absolutes / count
        return {"score": 1 / (1 + mse), "mse": mse, "mae": mae}


def forecasts_of(network: Network, rows: Tensor) -> Tensor:
    """Scaled forecasts `(streams, frames, horizon, channels)` of scaled rows, the state carried from a fresh start."""
    network.eval()
    state = network.fresh_state(len(rows))
    parts = []
    with torch.inference_mode():
        for part in torch.split(rows, CHUNK, dim=1):
            said, following = network.logits(part, state)
            state = {**state, **following}
            parts.append(said)
    return torch.cat(parts, dim=1)


def _of_split(series: Sequence[Run], split: str, recipe: Recipe) -> list[Run]:
    chosen = [run for run in series if run.split == split]
    if not chosen:
        raise OtolithError(
            f"{recipe.data.path}: no series falls into the split {split!r}; bring more, or name rows in data.rows"
        )
    return chosen
