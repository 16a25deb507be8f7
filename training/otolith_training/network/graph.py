"""The graph of a network, written by hand: plain operators of the default domain, few of them, weights folded.

An exporter would need a release of torch that agrees with a release of onnx; these few nodes need neither. Each node
costs about 0.2 us a call, so whatever is linear is folded into the weights behind it: DCT, scaling, decibels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from otolith_training.network.frontend import AMIN, DB, Frontend, MfccFrontend
from otolith_training.network.network import Network
from otolith_training.network.spectrum import Factors, first_stage, last_stage, mel_stage, power_matrices

Array = NDArray[Any]

OPSET = 17  # the oldest that has all that is used here: the widest choice of runtimes
IR_VERSION = 8
NEXT = ".next"
LAST = 2**31 - 1  # the end of an axis, however long


@dataclass(slots=True)
class Graph:
    """A graph as it grows: nodes, constants, and the states it carries."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    states: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """A node with one output, whose name is returned."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, value: Array | Tensor | Sequence[int]) -> str:
        """A constant: floats as float32, integers (axes, shapes) as int64. The same name gives the same constant."""
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        self.constants[name] = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        return name

    def ints(self, *values: int) -> str:
        """A constant of integers, shared wherever the same ones are needed."""
        return self.constant("ints_" + "_".join(str(v).replace("-", "m") for v in values), list(values))

    def slice(self, x: str, axis: int, start: int, end: int = LAST, output: str = "") -> str:
        """A stretch along one axis."""
        return self.add("Slice", x, self.ints(start), self.ints(end), self.ints(axis), output=output)

    def state(self, name: str, *shape: int) -> str:
        """A carried thing `(streams, *shape)`; the graph must also add an output `state.<name>.next`."""
        self.states.append((f"state.{name}", shape))
        return f"state.{name}"

    def model(self, frame_shape: Sequence[int], output: str, output_shape: Sequence[int]) -> onnx.ModelProto:
        """The finished model."""
        inputs = [_value("frames", "streams", "frames", *frame_shape)]
        inputs += [_value(name, "streams", *shape) for name, shape in self.states]
        outputs = [_value(output, "streams", "frames", *output_shape)]
        outputs += [_value(name + NEXT, "streams", *shape) for name, shape in self.states]
        tensors = [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in self.constants.items()]
        graph = helper.make_graph(self.nodes, "otolith", inputs, outputs, tensors)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="otolith")


def network_graph(network: Network) -> onnx.ModelProto:
    """Raw frames to posteriors, as `Network.forward` and a softmax give them."""
    graph = Graph()
    x, fold = _frontend(graph, network.frontend)  # (streams, frames, bands), and bands -> scaled features
    if network.convolution is not None:
        x = _convolution(graph, x, network, fold)
        fold = np.eye(network.convolution.out_features)
    x = graph.add("Transpose", x, perm=[1, 0, 2])  # (frames, streams, ...): the order that GRU wants
    for index, layer in enumerate(network.layers):
        assert isinstance(layer, nn.GRU)  # noqa: S101 - Network makes no others
        x = _gru(graph, x, index, layer, fold)
        fold = np.eye(layer.hidden_size)
    x = graph.add("MatMul", x, graph.constant("head.weight", network.head.weight.T))
    x = graph.add("Add", x, graph.constant("head.bias", network.head.bias))
    x = graph.add("Softmax", x, axis=-1)
    graph.add("Transpose", x, output="posteriors", perm=[1, 0, 2])
    return graph.model(_frame_shape(network.frontend), "posteriors", [network.head.out_features])


def features_graph(frontend: Frontend) -> onnx.ModelProto:
    """Raw frames to unscaled features (MFCC), by the same nodes as in `network_graph`: for holding them to librosa."""
    graph = Graph()
    x, _ = _frontend(graph, frontend)
    unfold = DB * _array(frontend.dct) if isinstance(frontend, MfccFrontend) else np.eye(frontend.features)
    x = graph.add("MatMul", x, graph.constant("unfold", unfold))
    graph.add("Add", x, graph.constant("offset", frontend.offset), output="features")
    return graph.model(_frame_shape(frontend), "features", [frontend.features])


def _frontend(graph: Graph, frontend: Frontend) -> tuple[str, Array]:
    """Centred bands `(streams, frames, bands)`, and the matrix that makes scaled features of them.

    Centred: zero where scaled features are zero, so that a carried zero means the same on both sides of the fold.
    """
    factor = _array(frontend.factor)
    if not isinstance(frontend, MfccFrontend):
        return graph.add("Sub", "frames", graph.constant("offset", frontend.offset)), np.diag(factor)
    neutral = _array(frontend.neutral()) / DB  # natural logarithm of power; subtracted by scaling the mel filters
    windows = graph.add("Mul", _windows(graph, frontend), graph.constant("hann", frontend.hann))
    mel = _array(frontend.mel) * np.exp(-neutral)
    power = _mel_power(graph, windows, mel)
    floored = graph.add("Max", power, graph.constant("floor", AMIN * np.exp(-neutral)))
    return graph.add("Log", floored), DB * _array(frontend.dct) * factor


def _windows(graph: Graph, frontend: MfccFrontend) -> str:
    """Overlapping windows `(streams, frames, window)` from the carried hops and the new ones."""
    hop, window, carried = frontend.settings.hop_length, frontend.settings.window_length, frontend.hops_carried
    if carried == 0:
        return "frames"
    hops = graph.add("Concat", graph.state("window", carried, hop), "frames", axis=1)
    graph.slice(hops, 1, -carried, output="state.window" + NEXT)
    skipped = (carried + 1) * hop - window  # of the oldest hop, which the window only half reaches
    stretch = [graph.ints(*ends) for ends in ((0, skipped), (-carried, LAST), (1, 2))]
    oldest = graph.add("Slice", hops, *stretch)
    between = [graph.slice(hops, 1, j, j - carried) for j in range(1, carried)]
    return graph.add("Concat", oldest, *between, "frames", axis=2)


def _mel_power(graph: Graph, windows: str, mel: Array) -> str:
    """Mel bands of the power spectrum `(streams, frames, mels)`."""
    length, mels = 2 * (len(mel) - 1), mel.shape[1]
    factors = Factors.of(length)
    if factors is None:
        cosines, sines = power_matrices(length)
        return _dense_mel_power(graph, windows, cosines, sines, mel)
    x = graph.add("Reshape", windows, graph.ints(0, 0, factors.rows, factors.columns))
    x = graph.add("MatMul", graph.constant("dft.first", first_stage(factors)), x)  # (s, f, 2 kept, columns)
    x = graph.add("Reshape", x, graph.ints(-1, factors.kept, 2 * factors.columns))
    x = graph.add("Transpose", x, perm=[1, 0, 2])  # (kept, s * f, 2 columns)
    x = graph.add("MatMul", x, graph.constant("dft.last", last_stage(factors)))
    x = graph.add("Mul", x, x)
    x = graph.add("Transpose", x, perm=[1, 0, 2])
    x = graph.add("Reshape", x, graph.ints(-1, factors.kept * 2 * factors.columns))
    x = graph.add("MatMul", x, graph.constant("mel", mel_stage(factors, mel)))  # (s * f, mels)
    shape = graph.add("Shape", "frames", start=0, end=2)
    shape = graph.add("Concat", shape, graph.ints(mels), axis=0)
    return graph.add("Reshape", x, shape)


def _dense_mel_power(graph: Graph, windows: str, cosines: Array, sines: Array, mel: Array) -> str:
    """For window lengths without good factors: one multiplication by the whole DFT."""
    x = graph.add("MatMul", windows, graph.constant("dft", np.concatenate((cosines, sines), axis=1)))
    x = graph.add("Mul", x, x)
    return graph.add("MatMul", x, graph.constant("mel", np.concatenate((mel, mel))))


def _convolution(graph: Graph, x: str, network: Network, fold: Array) -> str:
    """A convolution over the last `kernel` frames: shifted copies side by side, one multiplication, ReLU."""
    assert network.convolution is not None  # noqa: S101
    assert network.settings.convolution is not None  # noqa: S101
    kernel = network.settings.convolution.kernel
    if kernel > 1:
        past = graph.add("Concat", graph.state("convolution", kernel - 1, len(fold)), x, axis=1)
        graph.slice(past, 1, 1 - kernel, output="state.convolution" + NEXT)
        shifted = [graph.slice(past, 1, j, j + 1 - kernel) for j in range(kernel - 1)]
        x = graph.add("Concat", *shifted, x, axis=2)
    weight = _array(network.convolution.weight).T.reshape(kernel, fold.shape[1], -1)
    folded = np.concatenate([fold @ part for part in weight])
    x = graph.add("MatMul", x, graph.constant("convolution.weight", folded))
    x = graph.add("Add", x, graph.constant("convolution.bias", network.convolution.bias))
    return graph.add("Relu", x)


def _gru(graph: Graph, x: str, index: int, layer: nn.GRU, fold: Array) -> str:
    """A GRU layer over `(frames, streams, inputs)`; torch orders its gates r, z, n, ONNX z, r, h."""
    hidden = layer.hidden_size
    order = np.r_[hidden : 2 * hidden, :hidden, 2 * hidden : 3 * hidden]
    trained = {name: _array(value)[order] for name, value in layer.named_parameters()}
    weight, recurrence = trained["weight_ih_l0"] @ fold.T, trained["weight_hh_l0"]
    bias = np.concatenate((trained["bias_ih_l0"], trained["bias_hh_l0"]))
    name = f"hidden_{index}"
    before = graph.add("Unsqueeze", graph.state(name, hidden), graph.ints(0))
    constants = {"weight": weight, "recurrence": recurrence, "bias": bias}
    inputs = [graph.constant(f"gru_{index}.{part}", value[None]) for part, value in constants.items()]
    outputs = [f"{name}.all", f"{name}.last"]
    node = helper.make_node("GRU", [x, *inputs, "", before], outputs, hidden_size=hidden, linear_before_reset=1)
    graph.nodes.append(node)
    graph.add("Squeeze", outputs[1], graph.ints(0), output=f"state.{name}{NEXT}")
    return graph.add("Squeeze", outputs[0], graph.ints(1))  # (frames, streams, hidden)


def _frame_shape(frontend: Frontend) -> list[int]:
    return [frontend.settings.hop_length] if isinstance(frontend, MfccFrontend) else [frontend.features]


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().numpy().astype(np.float64)


def _value(name: str, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
