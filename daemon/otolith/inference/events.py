"""What happened on a stream, counted in samples (or rows) since its fresh start; no clock, no socket.

Structs of msgspec: one is made for every step of every stream, in a fifth of the time that a frozen dataclass takes.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray


class Posteriors(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What the model holds likely, frame by frame, up to `position`."""

    position: int
    values: NDArray[np.float32]  # (frames, labels)


class Forecasts(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What the model forecasts behind each frame up to `position`, in the channels' own units.

    `scores` say how unlikely each frame itself was under what had been forecast for it, 0..1; None of a model that
    does not watch for anomalies.
    """

    position: int
    values: NDArray[np.float32]  # (frames, horizon, channels)
    scores: NDArray[np.float32] | None  # (frames,)


class Detection(msgspec.Struct, frozen=True, gc=False):
    """A label begins or ends. `id` is the same at both; `onset` is where the label rose."""

    position: int
    id: int
    label: str
    phase: Literal["start", "end"]
    confidence: float
    onset: int


class Anomaly(msgspec.Struct, frozen=True, gc=False):
    """Rows begin or cease to differ from their forecasts. `id` is the same at both; `onset` is where the score rose."""

    position: int
    id: int
    phase: Literal["start", "end"]
    score: float
    onset: int


class Gap(msgspec.Struct, frozen=True, gc=False):
    """Input that was lost, and why. The stream starts afresh behind it."""

    position: int
    lost: int
    reason: str


Event = Posteriors | Forecasts | Detection | Anomaly | Gap
