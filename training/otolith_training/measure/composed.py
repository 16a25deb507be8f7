"""Composed streams as tracks: hours of words over backgrounds, each stream's state carried throughout.

All streams are stepped as one batch; by the law of company each hears what it would hear alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Card
from otolith.inference.model import Model
from otolith_training.data.composer import ClipComposer, Spoken
from otolith_training.measure.tracks import LATE_S, Advance, Event, Track

Floats = NDArray[np.float32]


def compose_tracks(model: Model, composer: ClipComposer, hours: float, advance: Advance | None = None) -> list[Track]:
    """A track a stream, of `hours` in all."""
    card = model.card
    parts: list[Floats] = []
    spoken: list[Spoken] = []
    state = None
    frames = 0
    wanted = round(hours * 3600 * card.frame_rate)
    while frames < wanted:
        chunk = composer.next()
        state = model.fresh_state(len(chunk.frames)) if state is None else state
        posteriors, state = model.step(chunk.frames, state)
        parts.append(posteriors)
        spoken += chunk.spoken
        frames += posteriors.shape[0] * posteriors.shape[1]
        if advance is not None:
            advance(min(frames, wanted), wanted)
    heard = np.concatenate(parts, axis=1)  # (streams, frames, labels)
    return [
        _track(f"stream {number}", posteriors, [word for word in spoken if word.stream == number], card)
        for number, posteriors in enumerate(heard)
    ]


def _track(name: str, posteriors: Floats, spoken: Sequence[Spoken], card: Card) -> Track:
    """The track up to where a word begins that it does not hold whole, with the time to tell it."""
    late = round(LATE_S * card.sample_rate)
    length = len(posteriors) * card.hop_length
    length = min((word.start for word in spoken if word.end + late > length), default=length)
    length = length // card.hop_length * card.hop_length
    events = tuple(
        Event(card.labels[word.label], word.start, word.end)
        for word in sorted(spoken, key=lambda word: word.start)
        if word.end + late <= length
    )
    return Track(name, None, np.ascontiguousarray(posteriors[: length // card.hop_length]), events, length)
