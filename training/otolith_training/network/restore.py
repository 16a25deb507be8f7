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
from torch import Tensor, nn

from otolith.errors import ModelError
from otolith_training.network.frontend import AMIN, DB, MfccFrontend
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
    if isinstance(frontend, MfccFrontend):
        dct = _array(frontend.dct)
        frontend.offset.copy_(torch.from_numpy(-np.log(constants["floor"] / AMIN) * DB @ dct))
        fold = DB * dct * _array(frontend.factor)  # (bands, features), as in `graph._frontend`
    else:
        frontend.offset.copy_(torch.from_numpy(constants["offset"]))
        fold = np.diag(_array(frontend.factor))
    unfold = np.asarray(np.linalg.pinv(fold), np.float64)  # (features, bands)
    if network.convolution is not None:
        kernel = network.convolution.in_features // frontend.features
        parts = constants["convolution.weight"].reshape(kernel, unfold.shape[1], -1)
        _set(network.convolution.weight, np.concatenate([unfold @ part for part in parts]).T)
        _set(network.convolution.bias, constants["convolution.bias"])
        unfold = np.eye(network.convolution.out_features)
    for index, layer in enumerate(network.layers):
        assert isinstance(layer, nn.GRU)  # noqa: S101 - Network makes no others
        _fill_gru(
            layer, {part: constants[f"gru_{index}.{part}"][0] for part in ("weight", "recurrence", "bias")}, unfold
        )
        unfold = np.eye(layer.hidden_size)
    _set(network.head.weight, constants["head.weight"].T)
    _set(network.head.bias, constants["head.bias"])


def _fill_gru(layer: nn.GRU, parts: dict[str, Array], unfold: Array) -> None:
    """ONNX orders its gates z, r, h, torch r, z, n."""
    hidden = layer.hidden_size
    order = np.r_[hidden : 2 * hidden, :hidden, 2 * hidden : 3 * hidden]
    biases = parts["bias"].reshape(2, 3 * hidden)[:, order]
    values = {
        "weight_ih_l0": parts["weight"][order] @ unfold.T,
        "weight_hh_l0": parts["recurrence"][order],
        "bias_ih_l0": biases[0],
        "bias_hh_l0": biases[1],
    }
    for name, value in values.items():
        _set(layer.get_parameter(name), value)


def _set(parameter: Tensor, value: Array) -> None:
    if tuple(parameter.shape) != value.shape:
        raise ValueError(f"weights of shape {value.shape} where the recipe asks for others")
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().cpu().double().numpy()
    return array
