"""Graphs of the shape that openWakeWord runs, with random weights: its package ships none.

Mel spectrogram: 512-point transform, hop 160, 32 bands. Embedding: five convolutional blocks of 24 to 96 filters,
76 x 32 -> 96 (330,000 weights), as in Lin, Kilgour, Roblek and Sharifi, "Training Keyword Spotters with Limited and
Synthesized Speech Data" (ICASSP 2020). Wake word: two dense layers of 128 over 16 embeddings. A call costs what these
operators cost, whatever the numbers are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FFT, HOP, BINS, MELS = 512, 160, 257, 32
WINDOW, EMBEDDING, EMBEDDINGS, HIDDEN = 76, 96, 16, 128
FILTERS = (24, 48, 72, 96, 96)
POOLS = ((2, 2), (1, 2), (2, 2), (1, 2), (2, 2))  # time x bands: 8 frames a step, 32 bands to one
OPSET, IR_VERSION = 17, 10


class Chain:
    """A graph whose nodes follow each other in a row."""

    def __init__(self, seed: int, name: str, shape: list[int | str]) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._input = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        self._last = name

    def weight(self, *shape: int) -> str:
        """Random values that neither grow nor vanish from layer to layer (subnormal numbers would cost more)."""
        fan_in = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
        return self.constant(self._random.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32))

    def constant(self, value: np.ndarray) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(value, name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: object) -> Chain:
        output = f"x{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, [self._last, *inputs], [output], **attributes))
        self._last = output
        return self

    def save(self, path: Path, shape: list[int | str]) -> None:
        output = helper.make_tensor_value_info(self._last, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self._nodes, path.stem, [self._input], [output], self._weights)
        opset = helper.make_opsetid("", OPSET)
        onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION), path)


def make_openwakeword(folder: Path) -> None:
    """Write `melspectrogram.onnx`, `embedding.onnx` and `wakeword.onnx`."""
    folder.mkdir(parents=True, exist_ok=True)
    _melspectrogram(folder / "melspectrogram.onnx")
    _embedding(folder / "embedding.onnx")
    _wakeword(folder / "wakeword.onnx")


def _melspectrogram(path: Path) -> None:
    chain = Chain(0, "input", ["batch", "samples"])
    chain.add("Unsqueeze", chain.constant(np.array([1])))
    chain.add("Conv", chain.weight(2 * BINS, 1, FFT), strides=[HOP])  # (batch, real and imaginary, frames)
    chain.add("Mul", chain._last).add("Transpose", perm=[0, 2, 1])
    chain.add("MatMul", chain.constant(np.abs(np.random.default_rng(1).normal(size=(2 * BINS, MELS))).astype("f4")))
    chain.add("Clip", chain.constant(np.array(1e-10, np.float32))).add("Log")
    chain.add("Unsqueeze", chain.constant(np.array([1])))
    chain.save(path, ["batch", 1, "frames", MELS])


def _embedding(path: Path) -> None:
    chain = Chain(2, "input_1", ["batch", WINDOW, MELS, 1])
    chain.add("Transpose", perm=[0, 3, 1, 2])
    channels = 1
    for number, (filters, pool) in enumerate(zip(FILTERS, POOLS, strict=True)):
        kernels = [(3, 3), (1, 3), (3, 1)] if number == 0 else [(1, 3), (3, 1), (1, 3), (3, 1)]
        for height, width in kernels:
            bands = width // 2  # bands are padded, time is not
            chain.add("Conv", chain.weight(filters, channels, height, width), pads=[0, bands, 0, bands])
            chain.add("LeakyRelu", alpha=0.2)
            channels = filters
        chain.add("MaxPool", kernel_shape=pool, strides=pool)
    chain.add("Conv", chain.weight(EMBEDDING, channels, 3, 1)).add("Transpose", perm=[0, 2, 3, 1])
    chain.save(path, ["batch", 1, 1, EMBEDDING])


def _wakeword(path: Path) -> None:
    chain = Chain(3, "x", [1, EMBEDDINGS, EMBEDDING])
    chain.add("Flatten").add("MatMul", chain.weight(EMBEDDINGS * EMBEDDING, HIDDEN)).add("Relu")
    chain.add("MatMul", chain.weight(HIDDEN, HIDDEN)).add("Relu")
    chain.add("MatMul", chain.weight(HIDDEN, 1)).add("Sigmoid")
    chain.save(path, [1, 1])
