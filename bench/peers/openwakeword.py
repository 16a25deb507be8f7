"""openWakeWord: one wake word, the package's own code on ONNX. Options: the folder that `shapes.py` wrote.

Its package holds no weights (they are downloaded at first use), so it runs random ones of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from openwakeword.model import Model

from peers.contest import Hear, compete, each

CHUNK = 1280


def detector(folder: Path) -> Callable[[bytes], object]:
    model = Model(
        wakeword_models=[str(folder / "wakeword.onnx")],
        melspec_model_path=str(folder / "melspectrogram.onnx"),
        embedding_model_path=str(folder / "embedding.onnx"),
        inference_framework="onnx",
    )
    return lambda chunk: model.predict(np.frombuffer(chunk, "<i2"))


def make(streams: int, options: list[str]) -> Hear:
    return each(partial(detector, Path(options[0])), streams)


if __name__ == "__main__":
    compete(version("openwakeword"), CHUNK, make, "one wake word; ships no weights: random ones of its shape")
