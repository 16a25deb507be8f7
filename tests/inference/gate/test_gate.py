"""Files that must not reach the runtime, each with its reason."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from otolith.errors import ModelError
from otolith.inference.gate import gate
from otolith.inference.model import Model
from tests.tiny import HOP_LENGTH, tiny_card, tiny_graph, with_card, write_card


def check_refused(path: Path, content: bytes, why: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ModelError, match=why) as caught:
        Model.open(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def graph() -> onnx.ModelProto:
    return tiny_graph(HOP_LENGTH, 3)


def test_a_whole_file_passes_and_gives_its_card() -> None:
    assert gate.inspect(with_card(graph(), "{}"), "here") == "{}"


@pytest.mark.parametrize("keep", [0, 1, 10, 100, 1000, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, tiny_audio_file: Path, keep: int) -> None:
    check_refused(
        tmp_path / "cut.onnx", tiny_audio_file.read_bytes()[:keep], "truncated or not an ONNX file|no otolith.card"
    )


@pytest.mark.parametrize("content", [b"hello, I am text\n" * 99, b"\x89PNG\r\n\x1a\n", bytes(4096)])
def test_what_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    check_refused(tmp_path / "not.onnx", content, "not an ONNX file")


def test_a_file_without_a_card_is_refused(tmp_path: Path) -> None:
    check_refused(tmp_path / "plain.onnx", graph().SerializeToString(), "no otolith.card in its metadata")


def test_an_unknown_operator_is_refused(tmp_path: Path) -> None:
    model = graph()
    model.graph.node.append(helper.make_node("ConstantOfShape", ["axis_0"], ["huge"]))
    check_refused(tmp_path / "operator.onnx", with_card(model, "{}"), "operator 'ConstantOfShape' is not on the list")


def test_a_foreign_domain_is_refused(tmp_path: Path) -> None:
    model = graph()
    model.graph.node.append(helper.make_node("Add", ["x", "x"], ["z"], domain="com.microsoft"))
    check_refused(tmp_path / "domain.onnx", with_card(model, "{}"), "only the default domain")


def test_a_subgraph_is_refused_before_its_operator_can_hide_it(tmp_path: Path) -> None:
    model = graph()
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Add", ["x", "x"], ["z"], body=body))
    check_refused(tmp_path / "subgraph.onnx", with_card(model, "{}"), "subgraph")


def test_local_functions_are_refused(tmp_path: Path) -> None:
    model = graph()
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("local", "f", ["a"], ["b"], [], opset))
    check_refused(tmp_path / "functions.onnx", with_card(model, "{}"), "local functions")


def test_external_weights_are_refused_even_through_a_hard_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside.bin"
    outside.write_bytes(bytes(64))
    (tmp_path / "in").mkdir()
    os.link(outside, tmp_path / "in" / "weights.bin")
    model = graph()
    tensor = TensorProto(name="stolen", dims=[16], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    model.graph.initializer.append(tensor)
    check_refused(tmp_path / "in" / "external.onnx", with_card(model, "{}"), "outside the file")


def test_an_initializer_that_claims_more_than_it_brings_is_refused(tmp_path: Path) -> None:
    model = graph()
    model.graph.initializer.append(TensorProto(name="big", dims=[1 << 20, 64], data_type=TensorProto.FLOAT))
    check_refused(tmp_path / "claims.onnx", with_card(model, "{}"), "claims 67108864 elements")


def test_an_initializer_of_strings_is_refused(tmp_path: Path) -> None:
    model = graph()
    model.graph.initializer.append(numpy_helper.from_array(np.array([b"a"], dtype=object), "text"))
    check_refused(tmp_path / "strings.onnx", with_card(model, "{}"), "type that is not allowed")


def test_an_old_opset_is_refused(tmp_path: Path) -> None:
    model = graph()
    model.opset_import[0].version = 12
    check_refused(tmp_path / "old.onnx", with_card(model, "{}"), "opset is 12")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "folder"])
def test_only_regular_files_are_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "odd.onnx")
    with pytest.raises(ModelError, match=r"not a regular file|cannot be opened"):
        Model.open(tmp_path / "odd.onnx")


def test_a_link_out_of_its_folder_is_not_followed(tmp_path: Path, tiny_audio_file: Path) -> None:
    (tmp_path / "link.onnx").symlink_to(tiny_audio_file)
    with pytest.raises(ModelError, match=r"link\.onnx: is a link out of its folder"):
        Model.open(tmp_path / "link.onnx")


def test_a_link_within_its_folder_is_followed(tmp_path: Path, tiny_audio_file: Path) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "3.onnx").write_bytes(tiny_audio_file.read_bytes())
    (tmp_path / "current.onnx").symlink_to("releases/3.onnx")
    assert Model.open(tmp_path / "current.onnx").card.name == "tiny-audio"


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.onnx").symlink_to("loop.onnx")
    with pytest.raises(ModelError, match=r"loop\.onnx: cannot be opened"):
        Model.open(tmp_path / "loop.onnx")


def test_a_device_is_not_opened() -> None:
    with pytest.raises(ModelError, match=r"/dev/zero: is not a regular file"):
        Model.open("/dev/zero")


def test_what_was_checked_is_what_is_opened(
    tmp_path: Path, tiny_audio_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "swapped.onnx"
    path.write_bytes(tiny_audio_file.read_bytes())
    inspect = gate.inspect

    def swap(content: bytes, where: str) -> str:
        path.write_bytes(b"something else, as soon as it was read")
        return inspect(content, where)

    monkeypatch.setattr(gate, "inspect", swap)
    assert Model.open(path).digest == hashlib.sha256(tiny_audio_file.read_bytes()).hexdigest()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_finite_number_is_refused(tmp_path: Path, value: float) -> None:
    model = graph()
    model.graph.initializer.append(numpy_helper.from_array(np.full(3, value, np.float32), "weight"))
    check_refused(tmp_path / "nan.onnx", with_card(model, "{}"), "a weight that is no finite number")


def test_an_attribute_that_is_no_finite_number_is_refused(tmp_path: Path) -> None:
    model = graph()
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value_float=float("inf")))
    check_refused(tmp_path / "inf.onnx", with_card(model, "{}"), "a number that is not finite")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx: cannot be opened"):
        Model.open(tmp_path / "gone.onnx")


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_refused_or_still_proved(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = graph()
    content = bytearray(with_card(model, write_card(tiny_card(model, "audio"))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "damaged.onnx"
    path.write_bytes(content)
    try:
        opened = Model.open(path)
    except ModelError:
        return
    posteriors, _ = opened.step(np.zeros((1, 2, HOP_LENGTH), np.float32), opened.fresh_state())
    assert posteriors.shape[:2] == (1, 2)
