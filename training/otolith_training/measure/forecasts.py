"""Forecasts against what came: through the daemon's own stream, beside the forecasts of somebody who knows nothing.

Errors are of scaled values, over all rows that have the whole horizon behind them, all steps ahead and all channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from otolith.errors import OtolithError
from otolith.inference.card import Card
from otolith.inference.card import Forecast as ForecastPromise
from otolith.inference.events import Forecasts
from otolith.inference.model import Model
from otolith.inference.stream import MAX_FRAMES_PER_STEP, Stream
from otolith_training.data.datasets import Run, fingerprints
from otolith_training.data.series import list_series, read_series
from otolith_training.recipe import Recipe
from otolith_training.recipe_file import parse_recipe

Floats = NDArray[np.float32]
Array = NDArray[np.float64]

STEPS_TOLD = 8  # of the steps ahead, in a table


def evaluate_forecasts(model: Model, data: Path, split: str | None) -> dict[str, Any]:
    """The figures of a forecasting model over `data`, ready for JSON. Raises `OtolithError`.

    `split` as in `evaluate`: a part of the recipe's own set, known by its fingerprint; any other is taken whole.
    """
    recipe = parse_recipe(model.card.recipe, f"{model.card.name}: the card's recipe")
    whole = read_series(recipe, data)
    files = {run.path.relative_to(data).as_posix(): run.path for run in whole}
    known = set(fingerprints(files)) <= {of.fingerprint for of in model.card.data}
    split = split or ("test" if known else "all")
    if split != "all":
        own = msgspec.structs.replace(recipe, data=msgspec.structs.replace(recipe.data, path=data.name))
        if not known and not recipe.data.rows:
            raise OtolithError(f"{data}: the model did not learn from these series; leave --split out, or say all")
        whole = [run for run in list_series(own, data.parent) if run.split == split]
        if not whole:
            raise OtolithError(f"{data}: nothing falls into the split {split!r}; name another with --split")
    told = measure_forecasts(model, recipe, whole)
    return {"model": model.identity, "data": str(data), "split": split, "kind": model.card.kind, **told}


def measure_forecasts(model: Model, recipe: Recipe, series: Sequence[Run]) -> dict[str, Any]:
    """Figures of `series`, each on a stream of its own. Raises `OtolithError` where all are too short."""
    card, promise = model.card, model.card.forecast
    assert isinstance(promise, ForecastPromise) and recipe.forecast is not None  # noqa: S101, PT018
    season = recipe.forecast.season_rows
    tallies = {"model": _Tally(card), "naive": _Tally(card)}
    if season:
        tallies["seasonal"] = _Tally(card)
    for run in series:
        stream, first, last = Stream(model), max(run.history - 1, 0), len(run.values) - promise.horizon
        for start in range(0, len(run.values), MAX_FRAMES_PER_STEP):
            for event in stream.push(run.values[start : start + MAX_FRAMES_PER_STEP]):
                if isinstance(event, Forecasts):
                    at = np.arange(start, start + len(event.values))
                    chosen = (at >= max(first, season - 1)) & (at < last)
                    _count(tallies, run.values, at[chosen], event.values[chosen], promise.horizon, season)
    if not tallies["model"].rows:
        raise OtolithError(f"the series are shorter than the horizon of {promise.horizon} rows; bring longer ones")
    figures = tallies.pop("model").figures()
    return {"series": len(series), **figures, **{name: tally.figures() for name, tally in tallies.items()}}


class _Tally:
    """Errors as they are counted: `(horizon, channels)`."""

    def __init__(self, card: Card) -> None:
        assert isinstance(card.forecast, ForecastPromise)  # noqa: S101
        self._card, self._scale = card, np.array(card.forecast.scale)
        self.rows = 0
        self._squares, self._absolutes = (np.zeros(card.output_shape) for _ in range(2))

    def add(self, error: Array) -> None:
        """Errors `(rows, horizon, channels)` in the channels' own units."""
        scaled = error / self._scale
        self.rows += len(scaled)
        self._squares += np.square(scaled).sum(axis=0)
        self._absolutes += np.abs(scaled).sum(axis=0)

    def figures(self) -> dict[str, Any]:
        mse, mae = self._squares / self.rows, self._absolutes / self.rows
        names = [channel.name for channel in self._card.channels]
        by_channel = zip(names, *(of.tolist() for of in (mse.mean(axis=0), mae.mean(axis=0), mse[0])), strict=True)
        return {
            "rows": self.rows,
            "mse": float(mse.mean()),
            "mae": float(mae.mean()),
            "per_channel": {
                name: {"mse": square, "mae": absolute, "next_mse": following}  # the last: of the row that follows
                for name, square, absolute, following in by_channel
            },
            "per_step": {"mse": mse.mean(axis=1).tolist(), "mae": mae.mean(axis=1).tolist()},
        }


def _count(
    tallies: Mapping[str, _Tally], values: Floats, at: NDArray[np.int64], said: Floats, horizon: int, season: int
) -> None:
    """Add forecasts `said` `(rows, horizon, channels)` behind the rows `at`, and those of the ignorant."""
    ahead = np.arange(1, horizon + 1)
    came = values[at[:, None] + ahead].astype(np.float64)
    tallies["model"].add(said - came)
    tallies["naive"].add(values[at][:, None] - came)
    if season:  # the row that stood there a season ago, or several where the horizon is longer
        tallies["seasonal"].add(values[at[:, None] + ahead - season * -(-ahead // season)] - came)


def brief(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What of the figures stands on a card."""
    kept = {name: figures[name] for name in ("series", "rows", "mse", "mae", "per_channel")}
    others = {f"{name}_mse": figures[name]["mse"] for name in ("naive", "seasonal") if name in figures}
    return {**kept, **others}


def told_of(figures: Mapping[str, Any]) -> str:
    """A line of brief figures."""
    others = [f"{name} {figures[f'{name}_mse']:.3f}" for name in ("naive", "seasonal") if f"{name}_mse" in figures]
    return f"MSE {figures['mse']:.4f} (last value again: {', seasonal: '.join(o.split()[1] for o in others)})"


def print_forecasts(figures: Mapping[str, Any], console: Console) -> None:
    """What was found, for people."""
    console.print(
        f"{figures['model']} on {figures['data']}, split {figures['split']}: {figures['rows']:,} forecasts of "
        f"{len(figures['per_step']['mse'])} rows, {figures['series']} series; errors of scaled values",
        markup=False,
        soft_wrap=True,
    )
    names = [name for name in ("naive", "seasonal") if name in figures]
    table = Table("", "MSE", "MAE", *(f"{name} MSE" for name in names))
    table.add_row("all", *_cells(figures, [figures[name] for name in names]))
    for channel, of in figures["per_channel"].items():
        table.add_row(escape(channel), *_cells(of, [figures[name]["per_channel"][channel] for name in names]))
    horizon = len(figures["per_step"]["mse"])
    for step in sorted({round(s) for s in np.geomspace(1, horizon, min(horizon, STEPS_TOLD))}):
        at = [{key: rows[step - 1] for key, rows in figures["per_step"].items()}]
        at += [{key: rows[step - 1] for key, rows in figures[name]["per_step"].items()} for name in names]
        table.add_row(f"{step} ahead", *_cells(at[0], at[1:]))
    console.print(table)


def _cells(figures: Mapping[str, float], others: Sequence[Mapping[str, float]]) -> list[str]:
    return [f"{figures['mse']:.4f}", f"{figures['mae']:.4f}", *(f"{other['mse']:.4f}" for other in others)]
