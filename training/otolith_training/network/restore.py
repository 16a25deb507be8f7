"""A model file becomes a network again, to learn on: its weights are unfolded from the graph that `graph.py` wrote.

The file holds no scaling of its own, only weights that it was folded into; so the network gets the scaling that the
caller measured, and weights that compute the same with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from otolith.errors import ModelError
from otolith_training.network.builder import to_array
from otolith_training.network.cells import read_layer
from otolith_training.network.frontend import AMIN, DB, EnergyFrontend, Frontend, SoundFrontend, TokenFrontend
from otolith_training.network.heads.head import set_parameters
from otolith_training.network.network import Network, make_network
from otolith_training.recipe import Recipe

Array = NDArray[np.float64]


def restore(path: Path, recipe: Recipe, factor: Tensor | None = None) -> Network:
    """The network of the model at `path`, which `recipe` (its card's) describes.

    `factor` `(features,)` is the scaling to unfold by, 1 over each feature's deviation; ones without it. Raises
    `ModelError` where the file's weights are not those of its recipe. `path` must have passed `Model.open`.
    """
    network = make_network(recipe)
    if factor is not None:
        network.frontend.factor.copy_(factor)
    try:
        _fill(network, _constants(path))
    except (KeyError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path}: does not hold the weights of its recipe ({reason}); train it anew") from None
    return network


def _constants(path: Path) -> dict[str, Array]:
    graph = onnx.load_model(path, load_external_data=False).graph
    return {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in graph.initializer}


def _fill(network: Network, constants: dict[str, Array]) -> None:
    frontend = network.frontend
    if network.head.sees_rows:  # its weights stand in the file as they are, so the scaling must be the file's
        frontend.factor.copy_(torch.from_numpy(constants["factor"]))
    fold = _fill_frontend(frontend, constants)
    unfold = np.asarray(np.linalg.pinv(fold), np.float64)  # (features, bands)
    if network.convolution is not None:
        kernel = network.convolution.in_features // frontend.features
        parts = constants["convolution.weight"].reshape(kernel, unfold.shape[1], -1)
        weight = np.concatenate([unfold @ part for part in parts]).T
        set_parameters(network.convolution, {"weight": weight, "bias": constants["convolution.bias"]})
        unfold = np.eye(network.convolution.out_features)
    for index, layer in enumerate(network.recurrent):
        set_parameters(layer, read_layer(constants, str(index), layer, unfold))
        unfold = np.eye(layer.hidden_size)
    set_parameters(network.head, network.head.read(constants))


def _fill_frontend(frontend: Frontend, constants: dict[str, Array]) -> Array:
    """What `graph._frontend` wrote, read again; returns the matrix `(bands, features)` that it told."""
    factor = to_array(frontend.factor)
    if isinstance(frontend, SoundFrontend):
        mixing = to_array(frontend.mixing)
        frontend.offset.copy_(torch.from_numpy(-np.log(constants["floor"] / AMIN) * DB @ mixing))
        return DB * mixing * factor
    if isinstance(frontend, TokenFrontend):
        set_parameters(frontend.embedding, {"weight": constants["embedding"]})
        return np.eye(frontend.features)
    if isinstance(frontend, EnergyFrontend):
        neutral = -np.log(constants["energies"][:, 0, 0] * frontend.energy_rows)
        frontend.offset.copy_(torch.from_numpy(np.concatenate((constants["offset"], neutral * DB))))
        frontend.floor.copy_(torch.from_numpy((np.log(constants["floor"]) + neutral) * DB))
        return np.diag(np.repeat((1, DB), frontend.channels) * factor)
    frontend.offset.copy_(torch.from_numpy(constants["offset"]))
    return np.diag(factor)
