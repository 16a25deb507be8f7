"""A stranger's model is tried in another process: what ends that one is told, and the daemon goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from msgspec.structs import replace
from onnx import helper, numpy_helper

from otolith.errors import ModelError, OtolithError
from otolith.inference.card import Proof
from otolith.inference.card_text import read_card, write_card
from otolith.inference.gate.gate import inspect
from otolith.trial import GENTLER, Trial, open_model
from tests.tiny import HOP_LENGTH, tiny_card, tiny_graph, with_card

WIDE = 1000


def heavy_model(path: Path, nodes: list[onnx.NodeProto], frames: int) -> Path:
    """A model that passes the gate, with more nodes behind `x` than are good, and a proof of so many frames."""
    model = tiny_graph(HOP_LENGTH, 3)
    card = tiny_card(model, "audio")
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array([n]), s) for s, n in (("two", 2), ("thousand", WIDE))
    )
    weights = {"widen": np.zeros((HOP_LENGTH, WIDE)), "mix": np.zeros((WIDE, WIDE)), "hear": np.zeros((WIDE, 3))}
    for name, value in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    softmax.output[0] = "heard"
    model.graph.node.append(helper.make_node("MatMul", ["last", "hear"], ["nothing"]))
    model.graph.node.append(helper.make_node("Add", ["heard", "nothing"], ["posteriors"]))
    proof = Proof(1, frames, 0.5, [[1 / 3] * 3] * frames)
    path.write_bytes(with_card(model, write_card(replace(card, proof=proof))))
    return path


def test_a_good_model_passes_and_is_the_same_as_without(tiny_audio_file: Path, sound: np.ndarray) -> None:
    with Trial() as trial:
        model, again = trial.open(tiny_audio_file), trial.open(tiny_audio_file)
    assert model.digest == again.digest
    posteriors, _ = model.step(sound[:HOP_LENGTH].reshape(1, 1, -1), model.fresh_state())
    assert posteriors.shape == (1, 1, 3)


def test_a_gentle_one_gives_way_to_whoever_calls(tiny_audio_file: Path) -> None:
    ours = psutil.Process().nice()
    with Trial(gentle=True) as trial:
        (process,) = psutil.Process().children()
        assert process.nice() == min(19, ours + GENTLER)
        assert trial.open(tiny_audio_file).card.kind == "audio"


def test_a_model_that_fails_its_proof_is_refused_there_with_the_same_words(
    tmp_path: Path, tiny_audio_file: Path
) -> None:
    path = tmp_path / "false.onnx"
    content = tiny_audio_file.read_bytes()
    model = onnx.load_from_string(content)
    card = read_card(inspect(content, "tiny"), "tiny")
    wrong = [[1.0, 0.0, 0.0]] * card.proof.frames
    path.write_bytes(with_card(model, write_card(replace(card, proof=replace(card.proof, posteriors=wrong)))))
    with pytest.raises(ModelError, match=rf"{path}: fails its proof: frame"):
        open_model(path)


def test_a_model_that_computes_for_minutes_is_refused_within_seconds(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["frames", "widen"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{i}", "mix"], [f"m{i + 1}" if i < 150 else "last"]) for i in range(151)]
    path = heavy_model(tmp_path / "slow.onnx", nodes, 4096)
    began_s = sum(psutil.Process().cpu_times()[2:4])
    with pytest.raises(ModelError, match=r"slow\.onnx: took over 2 s of CPU when it was tried"):
        open_model(path)
    assert sum(psutil.Process().cpu_times()[2:4]) - began_s < 4  # of its children, the trial's own start among it


def test_a_model_that_asks_for_gigabytes_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["frames", "widen"], ["wide"]),
        helper.make_node("Concat", ["wide"] * 200, ["huge"], axis=2),  # 3.3 GB of it
        helper.make_node("Slice", ["huge", "axis_0", "thousand", "two"], ["last"]),
    ]
    path = heavy_model(tmp_path / "huge.onnx", nodes, 4096)
    with pytest.raises(ModelError, match=r"huge\.onnx: cannot be stepped \(.*allocate"):
        open_model(path)


def test_a_process_that_crashes_is_told(tiny_audio_file: Path) -> None:
    with Trial() as trial:
        trial.open(tiny_audio_file)
        child = next(child for child in psutil.Process().children() if "otolith.trial" in child.cmdline())
        child.send_signal(11)
        with pytest.raises(ModelError, match=r"crashed \(SIGSEGV\) when it was tried"):
            trial.open(tiny_audio_file)


def test_where_no_process_can_be_had_nothing_is_opened(tiny_audio_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(OtolithError, match="no process to try models in can be started"):
        open_model(tiny_audio_file)


def test_what_passed_is_remembered_in_a_folder_of_the_daemons_own(tmp_path: Path, tiny_audio_file: Path) -> None:
    with Trial(tmp_path) as trial:
        trial.open(tiny_audio_file)
    with Trial(tmp_path, at_once=False) as again:
        assert again.open(tiny_audio_file).card.name == "tiny-audio"
        assert not any("otolith.trial" in child.cmdline() for child in psutil.Process().children())
