"""What happened on a stream, counted in samples (or rows) since its fresh start; no clock, no socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Posteriors:
    """What the model holds likely, frame by frame, up to `position`."""

    position: int
    values: NDArray[np.float32]  # (frames, labels)


@dataclass(frozen=True, slots=True)
class Detection:
    """A label begins or ends. `id` is the same at both; `onset` is where the label rose."""

    position: int
    id: int
    label: str
    phase: Literal["start", "end"]
    confidence: float
    onset: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Input that was lost, and why. The stream starts afresh behind it."""

    position: int
    lost: int
    reason: str


Event = Posteriors | Detection | Gap
