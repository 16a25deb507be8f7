"""What the trainer's tests share: small networks, and clips of real speech."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from otolith.recordings import load_audio
from otolith_training.network.network import Network, make_network
from tests.training.small import DATA, random_scaling, sound_recipe


@pytest.fixture(scope="session")
def clips() -> list[NDArray[np.float32]]:
    """All nine words, one second each at 16 kHz."""
    return [load_audio(path, 16000) for path in sorted((DATA / "clips").glob("*/*.flac"))]


@pytest.fixture
def network() -> Network:
    """Two layers of four units behind a convolution, weights random, scaling as of real sound."""
    torch.manual_seed(0)
    return random_scaling(make_network(sound_recipe()).eval())
