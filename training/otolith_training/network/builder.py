"""The builder: a graph as it grows, of plain operators of the default domain.

An exporter would need a release of torch that agrees with a release of onnx; these few nodes need neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

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
        """The finished model; frames without a shape of their own are token ids."""
        inputs = [_value("frames", "streams", "frames", *frame_shape, integer=not frame_shape)]
        inputs += [_value(name, "streams", *shape) for name, shape in self.states]
        outputs = [_value(output, "streams", "frames", *output_shape)]
        outputs += [_value(name + NEXT, "streams", *shape) for name, shape in self.states]
        tensors = [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in self.constants.items()]
        graph = helper.make_graph(self.nodes, "otolith", inputs, outputs, tensors)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="otolith")


def to_array(tensor: Tensor) -> NDArray[np.float64]:
    """A tensor's values in double precision, to fold weights in."""
    return tensor.detach().cpu().numpy().astype(np.float64)


def _value(name: str, *shape: str | int, integer: bool = False) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64 if integer else TensorProto.FLOAT, list(shape))
