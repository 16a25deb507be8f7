"""The export: every way of running the file agrees with torch, or there is no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from otolith.errors import OtolithError
from otolith.inference.model import Model
from otolith_training.network import export as exporting
from otolith_training.network.cards import make_card
from otolith_training.network.export import export, run_torch, to_frames
from otolith_training.network.network import Network, make_network
from otolith_training.recipe_file import parse_recipe
from tests.training.small import MOTION, SOUND, VIBRATION, changed, random_scaling, sound_recipe

NETWORKS = {
    "one layer": changed(SOUND, {"layers": "1"}),
    "two layers": SOUND,
    "no convolution": "\n".join(line for line in SOUND.splitlines() if "convolution" not in line),
    "a kernel of one": changed(SOUND, {"convolution": "{ kernel = 1, channels = 5 }"}),
    "two layers of LSTM": changed(SOUND, {"hidden": '4\ncell = "lstm"'}),
    "two layers of plain RNN": changed(SOUND, {"hidden": '4\ncell = "rnn"'}),
    "fewer cepstra": changed(SOUND, {"sample_rate": "16000\nn_mfcc = 13"}),
    "vibration": VIBRATION,
    "vibration, even bands of an odd window": changed(
        VIBRATION, {"window_length": "151", "scale": '"linear"', "bands": "40", "f_min": "0.0"}
    ),
    "vibration, averaged, behind a convolution": changed(
        VIBRATION, {"bands": "12\naverage = 5", "hidden": "4\nconvolution = { kernel = 3, channels = 5 }"}
    ),
    "sensor": MOTION,
    "sensor, convolution": changed(MOTION, {"hidden": "4\nconvolution = { kernel = 6, channels = 5 }"}),
    "sensor with energies": changed(MOTION, {"sample_rate": "100.0\nenergy_rows = 7"}),
    "sensor with energies, convolution": changed(
        MOTION, {"sample_rate": "100.0\nenergy_rows = 2", "hidden": "4\nconvolution = { kernel = 6, channels = 5 }"}
    ),
    "sensor, LSTM": changed(MOTION, {"hidden": '4\ncell = "lstm"'}),
    "sensor, plain RNN": changed(MOTION, {"hidden": '4\ncell = "rnn"'}),
}


@pytest.mark.parametrize("text", NETWORKS.values(), ids=NETWORKS.keys())
def test_networks_of_every_shape_agree(tmp_path: Path, clips: list[NDArray[np.float32]], text: str) -> None:
    recipe = parse_recipe(text, "small.toml")
    torch.manual_seed(1)
    network = random_scaling(make_network(recipe))
    sound = recipe.data.kind == "audio"
    rows = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
    model = export(network, make_card(recipe, text), clips[:2] if sound else [rows], tmp_path / "small.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]
    assert model.card.labels == recipe.all_labels
    assert model.card.recipe == text
    opened = onnx.load(tmp_path / "small.onnx")
    assert [(o.domain, o.version) for o in opened.opset_import] == [("", 17)]


@pytest.mark.parametrize(
    ("cell", "states"),
    [("gru", ["hidden_0", "hidden_1"]), ("rnn", ["hidden_0", "hidden_1"]),
     ("lstm", ["hidden_0", "cell_0", "hidden_1", "cell_1"])],
)  # fmt: skip
def test_the_file_carries_what_its_cell_has(tmp_path: Path, cell: str, states: list[str]) -> None:
    text = changed(SOUND, {"hidden": f'4\ncell = "{cell}"'})
    recipe = parse_recipe(text, "small.toml")
    model = export(make_network(recipe), make_card(recipe, text), [], tmp_path / "small.onnx")
    assert list(model.fresh_state()) == [f"state.{name}" for name in ("window", "convolution", *states)]


def test_a_network_that_looks_ahead_is_refused_with_the_alternative(tmp_path: Path) -> None:
    text = changed(MOTION, {"hidden": "4\nbidirectional = true"})
    recipe = parse_recipe(text, "small.toml")
    with pytest.raises(OtolithError, match=r"a live stream has no end: .* set bidirectional = false"):
        export(make_network(recipe), make_card(recipe, text), [], tmp_path / "small.onnx")
    assert not list(tmp_path.iterdir())


def test_streams_beside_each_other_change_nothing(
    network: Network, tmp_path: Path, clips: list[NDArray[np.float32]]
) -> None:
    model = export(network, make_card(sound_recipe(), SOUND), clips[:1], tmp_path / "small.onnx")
    frames = np.stack([to_frames(samples, model.card) for samples in clips[:3]])
    together, _ = model.step(frames, model.fresh_state(3))
    for number, alone in enumerate(frames):
        np.testing.assert_allclose(together[number], run_torch(network, alone), atol=1e-4)


def test_a_file_that_disagrees_is_not_written(
    network: Network, tmp_path: Path, clips: list[NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "small.onnx"
    out.write_bytes(b"the model before")

    def wrong(network: Network, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        posteriors = run_torch(network, frames)
        if len(frames) == 50:  # a clip, so that the proof still holds
            posteriors[31, 1] += 0.01
        return posteriors

    monkeypatch.setattr(exporting, "run_torch", wrong)
    with pytest.raises(OtolithError, match=r"recording 0: frame 31, label 'no', by 0\.01") as refusal:
        export(network, make_card(sound_recipe(), SOUND), clips[:1], out)
    assert "no file was written" in str(refusal.value)
    assert out.read_bytes() == b"the model before"
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]


def test_the_network_steps_as_it_runs_whole(network: Network, clips: list[NDArray[np.float32]]) -> None:
    frames = torch.from_numpy(to_frames(clips[0], make_card(sound_recipe(), SOUND))[None])
    with torch.inference_mode():
        whole, _ = network(frames, network.fresh_state(1))
        state, parts = network.fresh_state(1), []
        for part in torch.split(frames, 1, dim=1):
            logits, state = network(part, state)
            parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=0)


def test_the_file_carries_a_proof_that_another_file_fails(network: Network, tmp_path: Path) -> None:
    model = export(network, make_card(sound_recipe(), SOUND), [], tmp_path / "small.onnx")
    assert model.card.proof.frames == len(model.card.proof.posteriors)
    assert Model.open(tmp_path / "small.onnx").digest == model.digest
