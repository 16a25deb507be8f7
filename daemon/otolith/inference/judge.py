"""The judge: what a model puts out becomes what triggers are held against, and what they find takes its event's name.

Posteriors are judged as they are; of forecasts, how far the rows that came were from them (`watch.py`). `Stream` and
`Engine` both ask here, so that a stream alone and one in company are told the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Card
from otolith.inference.events import Anomaly, Detection, Event, Forecasts, Posteriors
from otolith.inference.model import Floats, Frames
from otolith.inference.rows import Rows
from otolith.inference.watch import Watch

ONE = slice(0, 1)  # the only row of a stream that is stepped alone


class Judge:
    """A row a stream, of one model."""

    def __init__(self, card: Card) -> None:
        self._forecasts = card.output == "forecast"
        self._watch = Watch(card) if card.anomaly else None

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        if self._watch is not None:
            self._watch.grow(capacity)

    def begin(self, row: int) -> None:
        """Row `row` starts afresh."""
        if self._watch is not None:
            self._watch.begin(row)

    def remember(self, rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """What is known of `rows`, the leading axis of each array; nothing where posteriors are judged."""
        return {} if self._watch is None else self._watch.remember(rows)

    def recall(self, row: int, known: Mapping[str, NDArray[Any]]) -> None:
        """Row `row` goes on where another stood."""
        if self._watch is not None:
            self._watch.recall(row, known)

    def push(self, rows: Rows, frames: Frames, outputs: Floats) -> tuple[Floats, Floats | None]:
        """What triggers look at, `(streams, frames, len(card.judged))`, and anomaly scores `(streams, frames)`.

        `frames` and `outputs` are what the model was given and what it said of them.
        """
        if not self._forecasts:
            return outputs, None
        if self._watch is None:
            return np.empty((*outputs.shape[:2], 0), np.float32), None
        scores = self._watch.push(rows, frames, outputs)
        return scores[:, :, None], scores

    def told(self, position: int, outputs: Floats, scores: Floats | None) -> Event:
        """The event of one stream's outputs `(frames, ...)` up to `position`."""
        return Forecasts(position, outputs, scores) if self._forecasts else Posteriors(position, outputs)

    def named(self, found: Iterable[Detection]) -> list[Event]:
        """What triggers found: detections as they are, or anomalies."""
        if not self._forecasts:
            return [*found]
        return [Anomaly(d.position, d.id, d.phase, d.confidence, d.onset) for d in found]
