"""The soak: the same test after 0, 1, 10 and 60 minutes of carried state; the carried against the fresh.

One stream is warmed on the set's own sound, in seeded order, and forked for each item; so every item is heard with
that many minutes behind it, and all rows of the table are paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Card
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith_training.data.datasets import AnyItem
from otolith_training.data.signals import Signal, whole_of
from otolith_training.measure.decisions import decide_all
from otolith_training.measure.intervals import (
    DRAWS,
    SEED,
    bootstrap,
    percentiles,
    rate_interval,
    share_interval,
)
from otolith_training.measure.longrun import missed_of, require_triggers
from otolith_training.measure.sweep import find_all
from otolith_training.measure.tracks import Advance, Recording, hear, hours_of, read_blocks
from otolith_training.recipe import Recipe

Floats = NDArray[np.float32]

MINUTES = (0.0, 1.0, 10.0, 60.0)
PAUSE_S = 0.5  # of silence behind warming sound: a word at its end must be over before the next is judged
PIECE_S = 5.0  # of a long recording


def soak(
    model: Model,
    recipe: Recipe,
    items: Sequence[AnyItem],
    advance: Advance | None = None,
    minutes: Sequence[float] = MINUTES,
) -> list[dict[str, Any]]:
    """Accuracy and macro-F1 of clips or runs after so many minutes, each with its difference from a fresh start."""
    labels = len(model.card.labels)
    rows: list[dict[str, Any]] = []
    fresh: dict[str, NDArray[np.float64]] = {}
    pause_s = 0.0 if any(isinstance(item, Signal) for item in items) else PAUSE_S  # a sensor is never silent
    for number, (minute, stream) in enumerate(warmed(model, _sounds(items, model.card), minutes, pause_s)):
        decisions = decide_all(model, recipe, items, begin=stream.fork)
        drawn = bootstrap(decisions.matrices(labels))
        fresh = fresh or drawn
        accuracy = float((decisions.truth == decisions.found).mean())
        rows.append(
            {
                "minutes": minute,
                "accuracy": accuracy,
                "accuracy_interval": list(percentiles(drawn["accuracy"])),
                "difference": accuracy - (rows[0]["accuracy"] if rows else accuracy),
                "difference_interval": list(percentiles(drawn["accuracy"] - fresh["accuracy"])),
            }
        )
        if advance is not None:
            advance(number + 1, len(minutes))
    return rows


def soak_long(
    model: Model,
    recordings: Sequence[Recording],
    advance: Advance | None = None,
    minutes: Sequence[float] = MINUTES,
) -> list[dict[str, Any]]:
    """Events missed and false alarms at the card's triggers after so many minutes, against a fresh start."""
    card = model.card
    require_triggers(card)
    rows: list[dict[str, Any]] = []
    fresh: NDArray[np.bool_] | None = None
    for number, (minute, stream) in enumerate(warmed(model, _recorded(recordings, card), minutes)):
        tracks = []
        for index, recording in enumerate(recordings):
            tracks.append(hear(stream.fork(), recording))
            if advance is not None:
                advance(number * len(recordings) + index + 1, len(minutes) * len(recordings))
        found = find_all(tracks, card, card.detector)
        missed = missed_of(found)
        fresh = missed if fresh is None else fresh
        alarms, hours = sum(of.false_alarms for of in found.values()), hours_of(tracks, card)
        rows.append(
            {
                "minutes": minute,
                "missed": float(missed.mean()) if len(missed) else None,
                "missed_interval": list(share_interval(int(missed.sum()), len(missed))),
                "false_alarms_per_hour": alarms / hours,
                "false_alarms_per_hour_interval": list(rate_interval(alarms, hours)),
                "difference": float(missed.mean() - fresh.mean()) if len(missed) else None,
                "difference_interval": list(paired_interval(missed, fresh)) if len(missed) else None,
            }
        )
    return rows


def warmed(
    model: Model, sounds: Iterator[Floats], minutes: Sequence[float], pause_s: float = PAUSE_S
) -> Iterator[tuple[float, Stream]]:
    """A stream that has heard at least so many minutes of `sounds`, each to its end, and (of audio) a pause; `minutes`
    rise. Broken off, a run would leave a body in mid-turn that sits in the next row."""
    stream = Stream(model)
    card = model.card
    for minute in minutes:
        while stream.received < round(minute * 60 * card.sample_rate):
            stream.push(next(sounds))
        ready = stream.fork()
        if card.kind == "audio" and minute:
            ready.push(np.zeros(round(pause_s * card.sample_rate), np.float32))
        yield minute, ready


def paired_interval(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> tuple[float, float]:
    """The interval of the difference between two shares of the same events, drawn together."""
    difference = a.astype(np.int64) - b
    kinds, counts = np.unique(difference, return_counts=True)
    drawn = np.random.default_rng(SEED).multinomial(len(difference), counts / len(difference), size=DRAWS)
    return percentiles(drawn @ kinds / len(difference))


def _sounds(items: Sequence[AnyItem], card: Card) -> Iterator[Floats]:
    """The items' sound in seeded order, again and again."""
    random = np.random.default_rng(SEED)
    while True:
        for index in random.permutation(len(items)).tolist():
            item = items[index]
            yield whole_of(item, round(card.sample_rate))


def _recorded(recordings: Sequence[Recording], card: Card) -> Iterator[Floats]:
    """The recordings' sound in seeded order, again and again."""
    random = np.random.default_rng(SEED)
    piece = round(PIECE_S * card.sample_rate)
    while True:
        for index in random.permutation(len(recordings)).tolist():
            for block in read_blocks(recordings[index].path, card):
                yield from np.split(block, range(piece, len(block), piece))
