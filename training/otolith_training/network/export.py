"""The export: write the graph, prove it, and hold every way of running it to the trained network, or write no file.

torch = ONNX whole = ONNX one frame at a time = the daemon's own `Stream`, on random and on real input.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from otolith.errors import OtolithError
from otolith.inference.card import METADATA_KEY, Card, Proof
from otolith.inference.card_text import write_card
from otolith.inference.events import Forecasts, Posteriors
from otolith.inference.model import Model
from otolith.inference.proof import proof_frames
from otolith.inference.stream import Stream
from otolith_training.network.graph import network_graph
from otolith_training.network.network import Network
from otolith_training.recipe import Network as NetworkSettings

Floats = NDArray[np.float32]
Frames = NDArray[np.float32] | NDArray[np.int64]

TOLERANCE = 1e-4
PROOF_FRAMES = 32
PROOF_VALUES = 8192  # on a card: of a large vocabulary fewer frames
PROOF_SEED = 20_261
SOUND_SCALE = 0.1  # of full scale, about as loud as speech
LONGEST_FRAMES = 2_000  # of a real recording that is stepped one by one


def export(network: Network, card: Card, recordings: Sequence[Frames], out: Path) -> Model:
    """Write `network` as a model file at `out`, proved and agreed; returns it opened.

    `card` wants nothing but its proof. `recordings` are real input, samples or tokens `(n,)` or rows `(n, channels)`.
    Raises `OtolithError` where the network looks ahead, and with the worst frame where any way of running the file
    disagrees; `out` is left alone then.
    """
    refuse_look_ahead(network.settings, card.name)
    network = network.cpu().eval()
    card = network.head.complete(card)
    proved = msgspec.structs.replace(card, proof=make_proof(network, card))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        beside = Path(folder) / out.name
        write_model(network_graph(network), proved, beside)
        model = Model.open(beside)
        random = proof_frames(card, PROOF_SEED + 1, proved.proof.scale, 200)[0]
        agree(network, model, random, "random input")
        for number, recording in enumerate(recordings):
            agree(network, model, to_frames(recording, card), f"recording {number}")
        beside.replace(out)
    return model


def refuse_look_ahead(settings: NetworkSettings, where: str) -> None:
    """Raise `OtolithError` of a network that no live stream could step; ask before it is trained."""
    if settings.bidirectional:
        raise OtolithError(
            f"{where}: network.bidirectional reads a stream from its end backwards, and a live stream has no end: it "
            "cannot be exported; set bidirectional = false (as a teacher and in `otolith compare` it may stay true)"
        )


def write_model(graph: onnx.ModelProto, card: Card, path: Path) -> None:
    """Write a graph with its card. Raises `OtolithError` where onnx finds it malformed."""
    entry = graph.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, write_card(card)
    try:
        onnx.checker.check_model(graph, full_check=True)
    except onnx.checker.ValidationError as error:
        raise OtolithError(f"{path.name}: the graph is malformed: {str(error).splitlines()[0]}") from None
    path.write_bytes(graph.SerializeToString())


def make_proof(network: Network, card: Card) -> Proof:
    """A generated input's description and what torch gives for it."""
    scale = SOUND_SCALE
    if card.kind == "sensor":  # a few deviations of the training rows, or the whole range of them
        scale = float((network.frontend.offset.abs() + 1 / network.frontend.factor).max())
    count = max(2, min(PROOF_FRAMES, PROOF_VALUES // math.prod(card.output_shape)))
    frames = proof_frames(card, PROOF_SEED, scale, count)
    rows = [[round(float(value), 7) for value in row.ravel()] for row in run_torch(network, frames[0])]
    return Proof(PROOF_SEED, count, scale, rows)


def to_frames(recording: Frames, card: Card) -> Frames:
    """The whole frames of a recording, as many as are worth stepping."""
    if card.kind == "token":
        return np.ascontiguousarray(recording[:LONGEST_FRAMES], np.int64)
    if card.kind == "audio":
        whole = len(recording) // card.hop_length
        recording = recording[: whole * card.hop_length].reshape(whole, card.hop_length)
    return np.ascontiguousarray(recording[:LONGEST_FRAMES], np.float32)


def agree(network: Network, model: Model, frames: Frames, what: str) -> None:
    """Raise `OtolithError` unless all ways of running the model give what torch gives of `frames`, within 1e-4."""
    expected = run_torch(network, frames)
    whole, _ = model.step(frames[None], model.fresh_state())
    ways = {
        "ONNX whole": whole[0],
        "ONNX one frame at a time": run_stepped(model, frames),
        "the daemon's stream": run_stream(model, frames),
    }
    for way, found in ways.items():
        rows = (found.reshape(len(found), -1), expected.reshape(len(expected), -1))
        difference = np.nan_to_num(model.card.difference(*rows), nan=np.inf).reshape(found.shape)
        if float(difference.max(initial=0.0)) > TOLERANCE:
            frame, *value = (int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
            named = f"label {model.card.labels[value[0]]!r}" if model.card.output == "posteriors" else f"value {value}"
            raise OtolithError(
                f"{model.card.name}: {way} differs from torch on {what}: frame {frame}, {named}, "
                f"by {difference.max():.2g} ({TOLERANCE:g} is allowed); no file was written"
            )


def run_torch(network: Network, frames: Frames) -> Floats:
    """What torch gives from a fresh state, `(frames, *output_shape)`."""
    with torch.inference_mode():
        said, _ = network(torch.from_numpy(frames[None]), network.fresh_state(1))
        outputs: Floats = network.head.to_output(said)[0].numpy()
    return outputs


def run_stepped(model: Model, frames: Frames) -> Floats:
    """The file's outputs `(frames, *output_shape)`, one frame a call, the state carried by hand."""
    state = model.fresh_state()
    rows = []
    for frame in frames:
        outputs, state = model.step(frame[None, None], state)
        rows.append(outputs[0, 0])
    return np.stack(rows)


def run_stream(model: Model, frames: Frames) -> Floats:
    """Outputs `(frames, *output_shape)` as a listener gets them, from blocks that do not fit the hops."""
    stream = Stream(model)
    samples = frames.reshape(-1) if model.card.kind == "audio" else frames
    events = []
    block = 3 * model.card.hop_length + 7
    for start in range(0, len(samples), block):
        events += stream.push(samples[start : start + block])
    return np.concatenate([event.values for event in events if isinstance(event, Posteriors | Forecasts)])
