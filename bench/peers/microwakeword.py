"""pymicro-wakeword: one wake word, an int8 network through TensorFlow Lite's C library; an interpreter a stream."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

from peers.contest import compete, each

CHUNK = 160


def detector() -> Callable[[bytes], object]:
    front_end, network = MicroWakeWordFeatures(), MicroWakeWord.from_builtin(Model.OKAY_NABU)

    def hear(chunk: bytes) -> None:
        for features in front_end.process_streaming(chunk):
            network.process_streaming(features)

    return hear


if __name__ == "__main__":
    compete(version("pymicro-wakeword"), CHUNK, lambda streams, _: each(detector, streams), "one wake word, int8")
