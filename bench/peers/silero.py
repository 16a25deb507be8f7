"""silero-vad: voice activity, its ONNX file on numpy alone; streams in batches, which its graph allows.

The package's own wrapper wants torch and is dearer; what the graph needs around it (64 samples of context before each
chunk of 512, a state) is as the wrapper does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime

from peers.contest import RATE, Hear, compete

CHUNK, CONTEXT = 512, 64
BATCH = 64


def make(streams: int, _options: list[str]) -> Hear:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    package = find_spec("silero_vad").submodule_search_locations[0]  # importing it would need torch
    session = onnxruntime.InferenceSession(Path(package) / "data" / "silero_vad.onnx", options)
    rate = np.array(RATE, np.int64)
    sound = np.zeros((streams, CONTEXT + CHUNK), np.float32)
    starts = range(0, streams, BATCH)
    states = [np.zeros((2, min(BATCH, streams - start), 128), np.float32) for start in starts]

    def hear(chunks: Sequence[bytes]) -> None:
        sound[:, :CONTEXT] = sound[:, -CONTEXT:]
        samples = np.frombuffer(b"".join(chunks), "<i2").reshape(streams, CHUNK)
        np.multiply(samples, np.float32(1 / 32768), out=sound[:, CONTEXT:])
        for number, start in enumerate(starts):
            inputs = {"input": sound[start : start + BATCH], "state": states[number], "sr": rate}
            _, states[number] = session.run(None, inputs)

    return hear


if __name__ == "__main__":
    compete(version("silero-vad"), CHUNK, make, "voice activity; up to 64 streams a batch")
