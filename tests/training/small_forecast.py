"""A forecast made small: two channels of a daily rhythm with noise, an eight-row horizon, a few units."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from otolith.inference.card import ANOMALY, Trigger
from otolith.inference.model import Model
from otolith_training.network.cards import make_card
from otolith_training.network.export import export
from otolith_training.network.heads.forecast import ForecastHead
from otolith_training.network.network import Network, make_network
from otolith_training.recipe_file import parse_recipe

Floats = NDArray[np.float32]

FORECAST = """
name = "small-forecast"
task = "forecast"

[data]
kind = "sensor"
path = "meter"
name = "a meter"
licence = "none"
attribution = "generated"
rows = { train = [0, 400], dev = [400, 500], test = [500, 600] }

[frontend]
type = "sensor"
sample_rate = 2.7777777777777778e-4
channels = [{ name = "load", unit = "kW" }, { name = "heat", unit = "degC" }]

[forecast]
horizon = 8
look_back = 30
hidden = 5
ridge = 1.0
season_rows = 24
stride = 2

[anomaly]
lead = 3
smoothing_rows = 2
memory_rows = 200
warm_up_rows = 10
threshold = 0.3
release = 0.1
refractory_s = 3600.0

[network]
layers = 1
hidden = 6

[streams]
type = "spans"

[training]
batch = 4
epochs = 1
steps_per_epoch = 3
chunk_frames = 20
seed = 1
"""


def rhythm(rows: int, seed: int = 0) -> Floats:
    """Rows of a day's rhythm with noise: `(rows, 2)`."""
    hours, random = np.arange(rows), np.random.default_rng(seed)
    load = 100 + 20 * np.sin(hours * 2 * np.pi / 24) + random.normal(0, 2, rows)
    heat = 20 + 5 * np.cos(hours * 2 * np.pi / 24) + random.normal(0, 0.5, rows)
    return np.stack((load, heat), axis=1).astype(np.float32)


def write_meter(folder: Path, values: Floats) -> Path:
    """The rows as a CSV with a date an hour."""
    folder.mkdir(parents=True, exist_ok=True)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    dates = [(start + timedelta(hours=hour)).strftime("%Y-%m-%d %H:%M:%S") for hour in range(len(values))]
    lines = ["date,load,heat", *(f"{date},{a},{b}" for date, (a, b) in zip(dates, values.tolist(), strict=True))]
    path = folder / "meter.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def forecast_network(text: str = FORECAST) -> Network:
    """A network whose every part says something, scaled as for the rhythm."""
    torch.manual_seed(0)
    network = make_network(parse_recipe(text, "small.toml"))
    head = network.head
    assert isinstance(head, ForecastHead)
    network.frontend.offset.copy_(torch.tensor([100.0, 20.0]))
    network.frontend.factor.copy_(1 / torch.tensor([14.0, 3.5]))
    with torch.no_grad():
        head.offset.copy_(network.frontend.offset)
        head.scale.copy_(1 / network.frontend.factor)
        head.taps.add_(torch.randn(head.taps.shape) * 0.02)
        head.told.weight.normal_()
        head.told.bias.normal_()
    return network


def forecasting(path: Path, text: str = FORECAST, threshold: float = 0.3) -> Model:
    """That network's model file, opened, with anomalies that start and end in a rhythm's noise."""
    card = make_card(parse_recipe(text, "small.toml"), text)
    if card.anomaly:
        trigger = Trigger(threshold, threshold / 3, 0.0, 3600.0)
        card = msgspec.structs.replace(card, detector={ANOMALY: trigger})
    return export(forecast_network(text), card, [rhythm(100)], path)
