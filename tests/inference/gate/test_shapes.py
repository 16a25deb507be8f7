"""Shapes are followed as the runtime would find them, and what grows beyond its input is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from otolith.errors import ModelError
from otolith.inference.gate import gate
from otolith.inference.gate.nodes import Known
from otolith.inference.gate.protobuf import Walk
from otolith.inference.gate.shapes import follow
from otolith.inference.gate.sizes import FRAMES, STREAMS, Extent, length
from tests.tiny import HOP_LENGTH, shaped_graph, tiny_graph, with_card

node = helper.make_node


def followed(model: onnx.ModelProto) -> dict[str, Known]:
    """Every tensor's shape, as the gate finds it."""
    walk, known = Walk(10_000), dict[str, Known]()
    nodes = [gate._read_node(walk, memoryview(n.SerializeToString())) for n in model.graph.node]
    for tensor in model.graph.initializer:
        name, shape = gate.read_tensor(walk, memoryview(tensor.SerializeToString()))
        known[name] = shape
    for entry in model.graph.input:
        name, shape = gate._read_input(walk, memoryview(entry.SerializeToString()))
        known[name] = shape
    follow(nodes, known)
    return known


def at(extent: Extent, streams: int, frames: int) -> int:
    return sum(factor * streams**a * frames**b for (a, b), factor in extent.terms.items())


@pytest.mark.parametrize("make", [lambda: tiny_graph(HOP_LENGTH, 3), shaped_graph], ids=["tiny", "shaped"])
@given(streams=st.integers(1, 5), frames=st.integers(1, 9))
@settings(max_examples=10, deadline=None)
def test_no_tensor_is_larger_than_was_followed(make: Callable[[], onnx.ModelProto], streams: int, frames: int) -> None:
    model = make()
    known = followed(model)
    names = [name for n in model.graph.node for name in n.output]
    model.graph.output.extend(
        onnx.ValueInfoProto(name=n) for n in names if n not in {o.name for o in model.graph.output}
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feeds = {}
    for entry in session.get_inputs():
        shape = (streams, frames, *entry.shape[2:]) if entry.name == "frames" else (streams, *entry.shape[1:])
        feeds[entry.name] = np.zeros(shape, np.float32)
    for name, value in zip(names, session.run(names, feeds), strict=True):
        found = [at(extent, streams, frames) for extent in known[name].extents]
        assert all(bound >= true for bound, true in zip(found, value.shape, strict=True)), name
        if all(extent.is_exact for extent in known[name].extents):
            assert tuple(found) == value.shape, name


def refuse(why: str, nodes: list[onnx.NodeProto], **constants: object) -> None:
    """A tiny model with further nodes is refused by the gate."""
    model = tiny_graph(HOP_LENGTH, 3)
    model.graph.node.extend(nodes)
    for name, value in constants.items():
        array = np.asarray(value)
        model.graph.initializer.append(
            numpy_helper.from_array(array.astype(np.float32 if array.dtype.kind == "f" else np.int64), name)
        )
    with pytest.raises(ModelError, match=why):
        gate.inspect(with_card(model, "{}"), "here")


def test_an_outer_product_of_all_frames_is_refused() -> None:
    nodes = [
        node("Reshape", ["frames", "column"], ["a"]),
        node("Reshape", ["frames", "row"], ["b"]),
        node("Add", ["a", "b"], ["c"]),
    ]
    refuse("Add makes 'c', which grows faster than streams and frames", nodes, column=[-1, 1], row=[1, -1])


def test_a_doubling_chain_is_refused_where_it_passes_the_bound() -> None:
    nodes = [node("Concat", [f"d{i}" if i else "frames"] * 2, [f"d{i + 1}"], axis=2) for i in range(30)]
    refuse("of 1310720 values a stream and frame|over 1048576 values", nodes)


def test_many_tensors_within_the_bound_are_refused_together() -> None:
    nodes = [node("Add", ["frames", "wide"], [f"w{i}"]) for i in range(20)]
    refuse("over 1048576 values a stream and frame", nodes, wide=np.zeros((200, 1, HOP_LENGTH)))


def test_constants_that_spread_are_refused() -> None:
    refuse(
        "Mul makes 'big' of 16000000 values", [node("Mul", ["a", "b"], ["big"])], a=np.ones((4000, 1)), b=np.ones(4000)
    )


@pytest.mark.parametrize("pads", [[1 << 30, 0], [-1, 0], [0, 1 << 62]])
def test_a_convolution_padded_beyond_reason_is_refused(pads: list[int]) -> None:
    conv = node("Conv", ["frames", "kernel"], ["padded"], pads=pads)
    refuse("Conv", [conv], kernel=np.ones((1, 1, 1)))


def test_columns_of_a_wide_kernel_count() -> None:
    nodes = [
        node("Transpose", ["frames"], ["t"], perm=[0, 2, 1]),
        node("Conv", ["t", "kernel"], ["out"], pads=[5000, 5000]),
    ]
    refuse("Conv's columns of", nodes, kernel=np.ones((1, HOP_LENGTH, 5001)))


def test_a_recurrence_as_wide_as_it_likes_is_refused() -> None:
    gru = node("GRU", ["x_by_time", "w", "r"], ["y2"], hidden_size=1 << 24)
    refuse("GRU", [gru])


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([node("Reshape", ["frames", "frames"], ["r"])], "a shape that cannot be known"),
        ([node("Squeeze", ["x"], ["r"])], "names no axes"),
        ([node("Add", ["gone", "x"], ["r"])], "takes 'gone', which nothing before it makes"),
        ([node("Add", ["x", "x"], ["x"])], "makes 'x' twice"),
        ([node("Transpose", ["x"], ["r"], perm=[0, 0, 1])], "a shape it cannot take"),
        ([node("MatMul", ["x"], ["r"])], "lacks an input"),
        ([node("Constant", [], ["r"], value_string=b"a")], "holds neither numbers nor a tensor"),
    ],
)
def test_what_cannot_be_followed_is_refused(nodes: list[onnx.NodeProto], why: str) -> None:
    refuse(why, nodes)


def test_a_length_that_a_narrow_type_would_change_is_not_believed() -> None:
    nodes = [
        node("Cast", ["big"], ["small"], to=TensorProto.UINT8),
        node("Cast", ["small"], ["again"], to=TensorProto.INT64),
        node("Reshape", ["frames", "again"], ["r"]),
    ]
    refuse("a shape that cannot be known", nodes, big=[-1, 300])


def test_an_extent_never_falls_below_what_it_bounds() -> None:
    assert FRAMES.plus(length(12)).less(12) == Extent({(0, 0): 0, (0, 1): 1})
    assert not FRAMES.less(1 << 62).is_exact or at(FRAMES.less(1 << 62), 1, 1) >= 0
    assert STREAMS.times(FRAMES).times(length(6)).over(3).terms == {(1, 1): 2}
    assert at(FRAMES.plus(length(1)).over(2), 1, 4) >= 3
