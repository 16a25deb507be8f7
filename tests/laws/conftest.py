"""The models that the laws are held on: one that ships, and small exported ones of every other cell."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from otolith.inference.card import Trigger
from otolith.inference.model import Model
from otolith_training.network.cards import make_card
from otolith_training.network.export import export, run_torch
from otolith_training.network.frontend import fit_scaling
from otolith_training.network.network import make_network
from otolith_training.recipe_file import parse_recipe
from tests.training.small import SOUND, changed

OTHER_CELLS = ["lstm", "rnn", "spectrum"]  # the last: a GRU behind the front end of vibration
SCALE = 'channel = { name = "DE", unit = "g" }\nfull_scale = 16.0'
SPECTRUM = f'"spectrum"\nf_max = 7000.0\nhop_length = 320\naverage = 6\n{SCALE}'


def exported(cell: str, folder: Path) -> Model:
    """Two layers of four units behind a convolution, exported, with triggers at which labels start and end in noise."""
    text = changed(SOUND, {"type": SPECTRUM} if cell == "spectrum" else {"hidden": f'4\ncell = "{cell}"'})
    recipe = parse_recipe(text, "small.toml")
    torch.manual_seed(0)
    network = make_network(recipe)
    with torch.no_grad():
        frames = torch.randn(1, 500, 320) * 0.3
        raw, _ = network.frontend.raw(frames, network.frontend.fresh_state(1))
        fit_scaling(network.frontend, network.frontend.unscaled(raw)[0], "z-score")
        for parameter in network.parameters():
            parameter.mul_(3)
    card = make_card(recipe, text)
    low, high = np.quantile(run_torch(network.eval(), frames[0].numpy()), (0.5, 0.7), axis=0).tolist()
    triggers = {label: Trigger(high[i], low[i], 0.05, 0.1) for i, label in enumerate(recipe.data.labels)}
    return export(network, msgspec.structs.replace(card, detector=triggers), [], folder / f"{cell}.onnx")


@pytest.fixture(scope="session", params=["words", *OTHER_CELLS])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model that ships (a GRU), an LSTM, a plain RNN, and one of vibration."""
    if request.param == "words":
        return request.getfixturevalue("words")
    return exported(request.param, tmp_path_factory.mktemp("cells"))


@pytest.fixture(scope="session", params=["gru", *OTHER_CELLS])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small model of each cell."""
    if request.param == "gru":
        return request.getfixturevalue("tiny_audio")
    return exported(request.param, tmp_path_factory.mktemp("cells"))
