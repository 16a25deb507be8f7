"""Verification: is what a replay says what was published? The first difference, or how much was the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otolith.wire.messages import (
    AnomalyMessage,
    DetectionMessage,
    ForecastMessage,
    GapMessage,
    Message,
    PosteriorsMessage,
)

TOLERANCE = 1e-5  # of posteriors and confidences, and in parts of forecasts
SCORE_TOLERANCE = 1e-3  # of anomaly scores, logarithms of a tail that a forecast's last bits move


@dataclass(slots=True)
class Verdict:
    """What was held against one another, and the first `difference`, empty where there is none."""

    frames: int = 0
    events: int = 0
    difference: str = ""


def compare(told: Iterable[Message], said: Iterable[Message], *, is_whole: bool) -> Verdict:
    """`told` was published, `said` is the replay's.

    Where the recording is not `is_whole` (it broke off, or another model took over), either may go on for longer.
    Times are not compared: positions say the same, and times are told to the accuracy of blocks.
    """
    told, said = list(told), list(said)
    verdict = Verdict()
    before, after = _events(told), _events(said)
    for number, (one, other) in enumerate(zip(before, after, strict=False)):
        if _differ(one, other):
            verdict.difference = f"event {number + 1} was {_described(one)}, and is {_described(other)}"
            return verdict
        verdict.events += 1
    rows, again = _rows(told), _rows(said)
    count = verdict.frames = min(len(rows), len(again))
    if count:
        off = np.abs(rows[:count] - again[:count]) - TOLERANCE * np.maximum(1, np.abs(rows[:count]))
        if (worst := np.flatnonzero((off > 0).any(axis=1))).size:
            frame = int(worst[0])
            apart = float(np.abs(rows[frame] - again[frame]).max())
            verdict.difference = f"frame {frame + 1} differs by {apart:.3g}"
    if not verdict.difference and is_whole:
        counts = (len(before), len(rows)), (len(after), len(again))
        if counts[0] != counts[1]:
            verdict.difference = "{} events and {} frames were told, {} and {} are".format(*counts[0], *counts[1])
    return verdict


def _events(messages: list[Message]) -> list[Message]:
    return [m for m in messages if isinstance(m, DetectionMessage | AnomalyMessage | GapMessage)]


def _rows(messages: list[Message]) -> NDArray[np.float32]:
    """Frames of posteriors or forecasts, one a row: `(frames, values)`."""
    told = [m.array() for m in messages if isinstance(m, PosteriorsMessage | ForecastMessage)]
    return np.concatenate([each.reshape(len(each), -1) for each in told]) if told else np.empty((0, 0), np.float32)


def _differ(one: Message, other: Message) -> bool:
    if type(one) is not type(other) or (one.position, one.seq) != (other.position, other.seq):
        return True
    match one, other:
        case GapMessage(), GapMessage():
            return (one.lost, one.reason) != (other.lost, other.reason)
        case DetectionMessage(), DetectionMessage():
            same = (one.id, one.label, one.phase) == (other.id, other.label, other.phase)
            return not same or abs(one.confidence - other.confidence) > TOLERANCE
        case AnomalyMessage(), AnomalyMessage():
            return (one.id, one.phase) != (other.id, other.phase) or abs(one.score - other.score) > SCORE_TOLERANCE
    return True


def _described(message: Message) -> str:
    match message:
        case GapMessage():
            return f"a gap of {message.lost} at {message.position} ({message.reason})"
        case DetectionMessage():
            what = f"{message.label} {message.phase}, {message.confidence:.5f}"
        case AnomalyMessage():
            what = f"anomaly {message.phase}, {message.score:.5f}"
        case _:
            what = type(message).__name__
    return f"{what} at {message.position}"
