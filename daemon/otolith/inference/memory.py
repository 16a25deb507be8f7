"""Memory: all that a stream knows of what it heard, as a value that can be put away and taken up again.

`Stream` and `Seat` give one and take one, each also the other's. What is large are rows of arrays, so that an engine
copies those of all its streams at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from numpy.typing import NDArray

from otolith.inference.framing import Samples

Rows = dict[str, NDArray[Any]]  # by name, `(streams, ...)` each


class Mark(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Where one label stands: over its release or not, since when, until when it rests; `id` is -1 unless active."""

    above: bool
    onset: int
    rests_until: int
    id: int = -1
    peak: float = 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """One stream's. `rows` hold its state, what was smoothed and what its watch knows, `(1, ...)` each."""

    position: int
    next_id: int
    labels: dict[str, Mark]  # of labels that have ever been told
    waiting: list[Samples] = field(repr=False)  # samples that were in no step yet, in the blocks they came in
    rows: Rows = field(repr=False)


@dataclass(frozen=True, slots=True)
class Memories:
    """Those of many streams of one model, in order; rows are `(streams, ...)`."""

    minds: list[tuple[int, int, dict[str, Mark], list[Samples]]]  # position, next_id, labels, waiting
    rows: Rows

    def __getitem__(self, place: int) -> Memory:
        return Memory(*self.minds[place], {name: array[place : place + 1] for name, array in self.rows.items()})
