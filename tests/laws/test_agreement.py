"""Law 4, agreement, for every cell: torch = ONNX whole = ONNX stepped = what a subscriber receives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from otolith import Subscriber
from otolith.wire.messages import PosteriorsMessage
from otolith_training.network.export import run_stepped, run_torch, to_frames
from otolith_training.network.restore import restore
from otolith_training.recipe_file import parse_recipe
from tests.laws.conftest import OTHER_CELLS, exported
from tests.processes import DaemonProcess


@pytest.mark.parametrize("cell", ["gru", *OTHER_CELLS])
def test_law_4_agreement_from_torch_to_a_subscriber(
    tmp_path: Path, endpoint: str, sound: NDArray[np.float32], cell: str
) -> None:
    model, path = exported(cell, tmp_path), tmp_path / f"{cell}.onnx"
    frames = to_frames(sound[:48000], model.card)
    expected = run_torch(restore(path, parse_recipe(model.card.recipe, "card")).eval(), frames)
    whole, _ = model.step(frames[None], model.fresh_state())
    np.testing.assert_allclose(whole[0], expected, atol=1e-4)
    np.testing.assert_allclose(run_stepped(model, frames), expected, atol=1e-4)
    received, first = received_of(path, tmp_path, endpoint, sound[:48000])
    np.testing.assert_allclose(received, expected[first:], atol=1e-4)


def received_of(path: Path, folder: Path, endpoint: str, sound: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Posteriors as a subscriber gets them from a daemon, and the number of the first frame that it was there for."""
    soundfile.write(folder / "clip.wav", sound, 16000, subtype="FLOAT")
    stream = f'name = "kitchen"\nmodel = "{path}"\nsource = "recording:{folder}/clip.wav"\nposteriors_per_s = 50'
    (folder / "otolith.toml").write_text(f'publish = "{endpoint}"\n[[stream]]\n{stream}\n')
    messages = []
    with Subscriber(endpoint) as subscriber, DaemonProcess(str(folder / "otolith.toml")) as daemon:
        while (message := subscriber.receive(20 if not messages else 1.5)) is not None:
            messages.append(message)
        assert daemon.wait()[0] == 0
    posteriors = [message for message in messages if isinstance(message, PosteriorsMessage)]
    first = posteriors[0].position // 320 - posteriors[0].frames  # sent before the subscriber had connected
    assert first < 20
    return np.concatenate([message.array() for message in posteriors]), first
