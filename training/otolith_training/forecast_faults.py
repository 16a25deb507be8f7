"""What can be wrong with a recipe that forecasts; `recipe_file.py` asks."""

from __future__ import annotations

from itertools import pairwise

from otolith.inference.card import Anomaly as AnomalyPromise
from otolith.inference.card_text import anomaly_faults
from otolith_training.recipe import Forecast, Recipe, Rows


def row_faults(recipe: Recipe) -> list[str]:
    """What is wrong with data that has rows and no labels."""
    faults, data = [], recipe.data
    if data.labels or data.unknown or data.background:
        faults.append("data.labels: a forecast tells no labels; leave labels, unknown and background out")
    for name, (start, end) in data.rows.items():
        if not 0 <= start < end:
            faults.append(f"data.rows.{name}: {start} to {end}; name the first row and the one behind the last")
    spans = sorted(data.rows.values())
    if any(first[1] > second[0] for first, second in pairwise(spans)):
        faults.append("data.rows: parts overlap; hold each row out once")
    wanted = ("train", "dev") if recipe.training.epochs else ("train",)
    if data.rows and (missing := [name for name in wanted if name not in data.rows]):
        faults.append(f"data.rows.{missing[0]}: is missing; a model is fitted on train and chosen on dev")
    return faults


def forecast_faults(recipe: Recipe) -> list[str]:
    """What is wrong with the forecast and anomaly sections, or with there being any."""
    forecast, anomaly = recipe.forecast, recipe.anomaly
    if recipe.task != "forecast" or recipe.data.kind != "sensor":
        sections = {"data.rows": recipe.data.rows, "forecast": forecast, "anomaly": anomaly}
        return [f"{name}: is for rows that are forecast; leave it out" for name, of in sections.items() if of]
    if forecast is None:
        return ["forecast: is missing; say at least its horizon"]
    faults = _number_faults(forecast)
    if isinstance(recipe.frontend, Rows) and recipe.frontend.energy_rows:
        faults.append("frontend.energy_rows: a forecast is of the rows alone; leave it out")
    if anomaly is not None:
        promise = AnomalyPromise(anomaly.lead, anomaly.smoothing_rows, anomaly.memory_rows, anomaly.warm_up_rows)
        faults += anomaly_faults(promise, forecast.horizon)
    return faults


def _number_faults(forecast: Forecast) -> list[str]:
    start, end = forecast.teacher_forcing
    wanted: list[tuple[str, float, float, float]] = [
        ("horizon", forecast.horizon, 1, 1024),
        ("look_back", forecast.look_back, 2, 4096),
        ("ridge", forecast.ridge, 1e-6, 1e12),
        ("own_ridge", forecast.own_ridge, 1e-6, 1e12),
        ("hidden", forecast.hidden, 1, 1024),
        ("teacher_forcing", min(start, end), 0, 1),
        ("teacher_forcing", max(start, end), 0, 1),
        ("season_rows", forecast.season_rows, 0, 1_000_000),
    ]
    if forecast.stride < 1 or forecast.horizon % forecast.stride:
        return [f"forecast.stride: {forecast.stride}; the horizon, {forecast.horizon} rows, must be whole strides"]
    return [
        f"forecast.{name}: {value:g}; between {low:g} and {high:g}"
        for name, value, low, high in wanted
        if not low <= value <= high
    ]
