"""A four-unit GRU with a card, written by hand in a few milliseconds: a whole model, made small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from msgspec import UNSET
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from otolith.inference.card import METADATA_KEY, Card, Channel, Kind, Made, Proof, Tokens, Trigger, Utterance
from otolith.inference.card_text import write_card
from otolith.inference.proof import proof_frames

HIDDEN = 4
HOP_LENGTH = 320
SENSOR_CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
AUDIO_LABELS = ["yes", "no", "_background_"]
SENSOR_LABELS = ["WALKING", "SEATED"]
TOKENS = Tokens(
    "words", lower=True, vocabulary=["<unknown>", "a", "good", "bad", "film"], unknown="<unknown>", end=None
)
TOKEN_LABELS = ["neg", "pos"]
LABELS: dict[Kind, list[str]] = {"audio": AUDIO_LABELS, "sensor": SENSOR_LABELS, "token": TOKEN_LABELS}
WIDTHS: dict[Kind, int] = {"audio": HOP_LENGTH, "sensor": len(SENSOR_CHANNELS), "token": 0}


def tiny_graph(width: int, labels: int, seed: int = 0) -> onnx.ModelProto:
    """`frames` -> MatMul -> GRU -> MatMul -> Softmax; random weights large enough that input matters.

    Without a width, `frames` are token ids, and a vector is gathered for each.
    """
    rng = np.random.default_rng(seed)
    rows = width or len(TOKENS.vocabulary)
    weights = {
        "w_in": rng.standard_normal((rows, HIDDEN)) / np.sqrt(rows) * 8,
        "w": rng.standard_normal((1, 3 * HIDDEN, HIDDEN)),
        "r": rng.standard_normal((1, 3 * HIDDEN, HIDDEN)),
        "w_out": rng.standard_normal((HIDDEN, labels)) * 3,
    }
    initializers = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    initializers += [numpy_helper.from_array(np.array([axis]), f"axis_{axis}") for axis in (0, 1)]
    node = helper.make_node
    nodes = [
        node("MatMul", ["frames", "w_in"], ["x"]) if width else node("Gather", ["w_in", "frames"], ["x"]),
        node("Transpose", ["x"], ["x_by_time"], perm=[1, 0, 2]),
        node("Unsqueeze", ["state.hidden", "axis_0"], ["h"]),
        node("GRU", ["x_by_time", "w", "r", "", "", "h"], ["y", "h_next"], hidden_size=HIDDEN, linear_before_reset=1),
        node("Squeeze", ["y", "axis_1"], ["y_by_time"]),
        node("Transpose", ["y_by_time"], ["y_by_stream"], perm=[1, 0, 2]),
        node("MatMul", ["y_by_stream", "w_out"], ["logits"]),
        node("Softmax", ["logits"], ["posteriors"], axis=-1),
        node("Squeeze", ["h_next", "axis_0"], ["state.hidden.next"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [_frames(width), _value("state.hidden", "streams", HIDDEN)],
        [_value("posteriors", "streams", "frames", labels), _value("state.hidden.next", "streams", HIDDEN)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def tiny_card(model: onnx.ModelProto, kind: Kind, task: str = "tag") -> Card:
    """A whole card for a tiny model, with the proof that it gives."""
    is_audio, labels = kind == "audio", LABELS[kind]
    names = SENSOR_CHANNELS if kind == "sensor" else [kind]
    card = Card(
        format=1,
        name=f"tiny-{kind}",
        kind=kind,
        sample_rate={"audio": 16000, "sensor": 100, "token": 1}[kind],
        hop_length=HOP_LENGTH if is_audio else 1,
        window_length=HOP_LENGTH if is_audio else 1,
        channels=[Channel(name, "1") for name in names],
        labels=labels,
        background="_background_" if is_audio else None,
        task=task,
        detector={}
        if task == "classify"
        else {label: Trigger(0.5, 0.3, 0.05, 0.1) for label in labels if label != "_background_"},
        latency_s=0.02,
        recipe="",
        data=[],
        metrics={},
        made=Made("2026-11-01T00:00:00Z", {"onnx": onnx.__version__}, 0),
        proof=Proof(1, 16, 0.5, []),
        tokens=TOKENS if kind == "token" else UNSET,
        utterance=Utterance(0.2, -30.0) if task == "classify" else UNSET,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feeds = {"frames": proof_frames(card, 1, 0.5, 16)}
    for state in session.get_inputs()[1:]:
        feeds[state.name] = np.zeros((1, *state.shape[1:]), np.float32)
    posteriors = session.run(["posteriors"], feeds)[0][0]
    return replace(card, proof=Proof(1, 16, 0.5, posteriors.tolist()))


def with_card(model: onnx.ModelProto, text: str) -> bytes:
    """The file's bytes, with `text` as its card."""
    helper.set_model_props(model, {METADATA_KEY: text})
    content: bytes = model.SerializeToString()
    return content


def write_tiny(path: Path, kind: Kind, task: str = "tag", seed: int = 0) -> Path:
    """A tiny model file of `kind` at `path`."""
    model = tiny_graph(WIDTHS[kind], len(LABELS[kind]), seed)
    path.write_bytes(with_card(model, write_card(tiny_card(model, kind, task))))
    return path


def _frames(width: int) -> onnx.ValueInfoProto:
    if width:
        return _value("frames", "streams", "frames", width)
    return helper.make_tensor_value_info("frames", TensorProto.INT64, ("streams", "frames"))


def _value(name: str, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def shaped_graph() -> onnx.ModelProto:
    """Overlapping hops, a convolution and computed shapes, as in real front ends; takes a tiny audio model's card."""
    node, half = helper.make_node, HOP_LENGTH // 2
    ints = {"one": [1], "last": [2**31 - 1], "minus": [-1], "rows": [0, 0, 2, half], "width": [3]}
    initializers = [numpy_helper.from_array(np.array(value), name) for name, value in ints.items()]
    rng = np.random.default_rng(2)
    floats = {"kernel": (1, 1, 2, 1), "w_in": (HOP_LENGTH, 3)}
    initializers += [numpy_helper.from_array(rng.random(s).astype(np.float32), name) for name, s in floats.items()]
    nodes = [
        node("Concat", ["state.window", "frames"], ["hops"], axis=1),
        node("Slice", ["hops", "minus", "last", "one"], ["state.window.next"]),
        node("Unsqueeze", ["hops", "one"], ["plane"]),
        node("Conv", ["plane", "kernel"], ["smooth"]),  # (streams, 1, frames, hop)
        node("Squeeze", ["smooth", "one"], ["rows_of_hops"]),
        node("Reshape", ["rows_of_hops", "rows"], ["halves"]),
        node("Transpose", ["halves"], ["swapped"], perm=[0, 1, 3, 2]),
        node("Flatten", ["swapped"], ["flat"], axis=2),
        node("Reshape", ["flat", "pair"], ["again"]),
        node("MatMul", ["again", "w_in"], ["bands"]),
        node("Shape", ["frames"], ["dims"], start=0, end=2),
        node("Concat", ["dims", "width"], ["shape"], axis=0),
        node("Reshape", ["bands", "shape"], ["logits"]),
        node("Softmax", ["logits"], ["posteriors"], axis=-1),
    ]
    initializers.append(numpy_helper.from_array(np.array([-1, HOP_LENGTH]), "pair"))
    graph = helper.make_graph(
        nodes,
        "shaped",
        [_frames(HOP_LENGTH), _value("state.window", "streams", 1, HOP_LENGTH)],
        [_value("posteriors", "streams", "frames", 3), _value("state.window.next", "streams", 1, HOP_LENGTH)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
