"""earshot: voice activity, a small recurrent network in Rust; a detector a stream."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import earshot
import numpy as np

from peers.contest import compete, each

CHUNK = 256


def detector() -> Callable[[bytes], object]:
    predict = earshot.Detector().predict_i16
    return lambda chunk: predict(np.frombuffer(chunk, "<i2"))


if __name__ == "__main__":
    compete(version("earshot"), CHUNK, lambda streams, _: each(detector, streams), "voice activity only")
