"""A model: an exported file, opened, proved on this machine, and stepped.

A model never changes, so any number of streams share one. State is a value: it goes in and comes out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.errors import ModelError
from otolith.inference.card import Card, Kind
from otolith.inference.card_text import read_card
from otolith.inference.gate import gate
from otolith.inference.proof import TOLERANCE, proof_frames
from otolith.inference.runtime import bound_call, open_session

Floats = NDArray[np.float32]
Frames = NDArray[np.float32] | NDArray[np.int64]
State = dict[str, Floats]

FRAME_TYPES: dict[Kind, type[np.float32] | type[np.int64]] = {
    "audio": np.float32,
    "sensor": np.float32,
    "token": np.int64,
}
NEXT = ".next"


@dataclass(frozen=True, slots=True)
class Bound:
    """A step over arrays that stay where they are. Made by `Model.bind`, whose arrays it keeps alive.

    `step()` reads `frames` and `state` as they now are, and writes `outputs` and `following`.
    """

    step: Callable[[], None]
    _arrays: tuple[Frames, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """An opened model file. Make one with `Model.open`."""

    card: Card
    digest: str  # sha256 of the file, hex
    _session: Any
    _state_shapes: dict[str, tuple[int, ...]]  # by input name, without the leading axis of streams
    _outputs: list[str]

    @classmethod
    def open(cls, path: str | Path) -> Model:
        """Read, check and prove the file at `path`. Raises `ModelError` saying what does not hold.

        In this very process: what comes from strangers is tried in another one first (`otolith.trial`).
        """
        return cls.load(gate.read_model_file(Path(path)), str(path))

    @classmethod
    def load(cls, content: bytes, where: str) -> Model:
        """As `open`, of a file's bytes; `where` begins every message."""
        card = read_card(gate.inspect(content, where), where)
        try:
            session = open_session(content)
        except Exception as error:  # noqa: BLE001 - the runtime raises a class of its own for each fault
            reason = str(error).splitlines()[0]
            raise ModelError(f"{where}: the runtime cannot open it ({reason}); export the model again") from None
        shapes = _state_shapes(session, card, where)
        outputs = [card.output, *(name + NEXT for name in shapes)]
        model = cls(card, hashlib.sha256(content).hexdigest(), session, shapes, outputs)
        model._prove(where)
        return model

    @property
    def identity(self) -> str:
        """`name@digest`, as messages carry it."""
        return f"{self.card.name}@{self.digest[:12]}"

    def fresh_state(self, streams: int = 1) -> State:
        """The state of streams that have heard nothing: zeros, `(streams, ...)` each."""
        return {name: np.zeros((streams, *shape), np.float32) for name, shape in self._state_shapes.items()}

    def step(self, frames: Frames, state: State) -> tuple[Floats, State]:
        """What comes out of `frames`, and the state behind the last of them; `state` is left as it was.

        `frames` is float32 `(streams, frames, hop_length)` of samples in -1..1, or `(streams, frames, channels)`, or
        int64 `(streams, frames)` of token ids.
        Returns posteriors `(streams, frames, labels)`, whose rows sum to 1 (`(streams, frames, *card.output_shape)`).
        """
        outputs, *states = self._session.run(self._outputs, {"frames": frames, **state})
        return outputs, dict(zip(self._state_shapes, states, strict=True))

    def bind(self, frames: Frames, state: State, outputs: Floats, following: State) -> Bound:
        """The same step, bound once to arrays of one's own: for whoever steps so often that a call's own cost counts.

        Shapes as in `step`; each array C-contiguous and apart from the others. `following` takes the state behind the
        last frame. Raises `ValueError` on an array that the runtime could not use where it lies.
        """
        binding = self._session.io_binding()
        inputs = {"frames": frames, **state}
        written = {self.card.output: outputs, **{name + NEXT: array for name, array in following.items()}}
        for name, array in (*inputs.items(), *written.items()):
            wanted = FRAME_TYPES[self.card.kind] if name == "frames" else np.float32
            if array.dtype != wanted or not array.flags.c_contiguous:
                raise ValueError(f"{name} must be C-contiguous {np.dtype(wanted)} to be bound; found {array.dtype}")
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in written.items():
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return Bound(bound_call(self._session, binding), (*inputs.values(), *written.values()))

    def _prove(self, where: str) -> None:
        """Step silence, then the card's proof, and compare. Raises `ModelError` with the worst frame."""
        proof = self.card.proof
        frames = proof_frames(self.card, proof.seed, proof.scale, proof.frames)
        self._try(np.zeros_like(frames[:, :1]), where)
        outputs = self._try(frames, where)
        expected = np.asarray(proof.posteriors, np.float32)  # (frames, values)
        difference = self.card.difference(outputs.reshape(expected.shape), expected)
        difference = np.nan_to_num(difference, nan=np.inf).max(axis=1)
        if (worst := int(difference.argmax())) >= 0 and difference[worst] > TOLERANCE:
            raise ModelError(
                f"{where}: fails its proof: frame {worst} is {difference[worst]:.2g} from what the card promises "
                f"({TOLERANCE:g} is allowed); the file was changed or this runtime computes otherwise: export it again"
            )

    def _try(self, frames: Frames, where: str) -> Floats:
        """What comes out of a fresh state's first step. Raises `ModelError` where it is not as promised."""
        state = self.fresh_state()
        try:
            outputs, following = self.step(frames, state)
        except Exception as error:  # noqa: BLE001 - as above
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ModelError(f"{where}: cannot be stepped ({reason}); export the model again") from None
        promised = (1, frames.shape[1], *self.card.output_shape)
        if outputs.shape != promised or outputs.dtype != np.float32:
            found = f"{outputs.dtype} of shape {outputs.shape}"
            raise ModelError(f"{where}: {self.card.output} are {found}, the card promises float32 of {promised}")
        for name, value in following.items():
            if value.shape != state[name].shape or value.dtype != np.float32 or not np.isfinite(value).all():
                raise ModelError(f"{where}: {name}{NEXT} is no finite float32 of shape {state[name].shape}")
        return outputs


def _state_shapes(session: Any, card: Card, where: str) -> dict[str, tuple[int, ...]]:
    """Check a session's inputs and outputs against the model contract; the shape of each carried state."""
    inputs = {i.name: i for i in session.get_inputs()}
    outputs = {o.name: o for o in session.get_outputs()}
    frames = inputs.pop("frames", None)
    wanted = "int64" if card.kind == "token" else "float32"
    tensor = {"int64": "tensor(int64)", "float32": "tensor(float)"}[wanted]
    if frames is None or frames.type != tensor or tuple(frames.shape[2:]) != card.frame_shape:
        found = f"{frames.type} {frames.shape}" if frames else "none"
        shape = ", ".join(["streams", "frames", *map(str, card.frame_shape)])
        raise ModelError(f"{where}: input 'frames' should be {wanted} ({shape}) by its card; found {found}")
    if card.output not in outputs:
        raise ModelError(f"{where}: has no output {card.output!r}; found {', '.join(outputs)[:200]}")
    shapes = {}
    for name, value in inputs.items():
        following = outputs.get(name + NEXT)
        fixed = all(isinstance(dim, int) for dim in value.shape[1:])
        if not name.startswith("state.") or value.type != "tensor(float)" or not fixed or following is None:
            raise ModelError(f"{where}: input {name!r} should be a float32 state with an output '{name}{NEXT}'")
        shapes[name] = tuple(value.shape[1:])
    return shapes
