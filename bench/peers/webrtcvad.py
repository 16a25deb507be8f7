"""webrtcvad: voice activity in C, Gaussian mixtures on six bands and no network; a detector a stream."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import webrtcvad

from peers.contest import RATE, compete, each

CHUNK = 480  # the longest it takes, which is the cheapest
AGGRESSIVENESS = 2


def detector() -> Callable[[bytes], object]:
    is_speech = webrtcvad.Vad(AGGRESSIVENESS).is_speech
    return lambda chunk: is_speech(chunk, RATE)


if __name__ == "__main__":
    compete(
        version("webrtcvad-wheels"), CHUNK, lambda streams, _: each(detector, streams), "voice activity; no network"
    )
