"""Restoring: what comes out of a model file computes what went into it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from otolith.errors import ModelError
from otolith_training.network.cards import make_card
from otolith_training.network.export import export, run_torch, to_frames
from otolith_training.network.network import make_network
from otolith_training.network.restore import restore
from otolith_training.recipe_file import parse_recipe
from tests.training.network.test_export import NETWORKS
from tests.training.small import SOUND, changed, random_scaling


@pytest.mark.parametrize("rescaled", [False, True], ids=["unscaled", "under a scaling of its own"])
@pytest.mark.parametrize("text", NETWORKS.values(), ids=NETWORKS.keys())
def test_a_restored_network_computes_what_the_file_does(
    tmp_path: Path, clips: list[NDArray[np.float32]], text: str, rescaled: bool
) -> None:
    recipe = parse_recipe(text, "small.toml")
    torch.manual_seed(1)
    network = random_scaling(make_network(recipe))
    card = make_card(recipe, text)
    rows = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
    recording = clips[0] if card.kind == "audio" else rows
    export(network, card, [recording], tmp_path / "small.onnx")
    factor = torch.rand(network.frontend.features) + 0.5 if rescaled else None
    restored = restore(tmp_path / "small.onnx", recipe, factor)
    frames = to_frames(recording, card)
    np.testing.assert_allclose(run_torch(restored.eval(), frames), run_torch(network.eval(), frames), atol=1e-4)


def test_a_file_of_another_recipe_is_refused(tmp_path: Path, clips: list[NDArray[np.float32]]) -> None:
    recipe = parse_recipe(SOUND, "small.toml")
    export(make_network(recipe), make_card(recipe, SOUND), clips[:1], tmp_path / "small.onnx")
    for change in ({"hidden": "6"}, {"layers": "3"}, {"convolution": "{ kernel = 2, channels = 5 }"}):
        with pytest.raises(ModelError, match="does not hold the weights of its recipe"):
            restore(tmp_path / "small.onnx", parse_recipe(changed(SOUND, change), "small.toml"))
