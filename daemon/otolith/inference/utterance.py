"""Utterances: where one is over, and what is told of it then, of a model that gives one label to the whole.

While it lasts, each frame's posteriors are a running opinion of all that was heard since it began. When it is over the
last of them is the verdict: a detection that starts and ends there. Then the stream starts afresh.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from otolith.inference.card import Card, Utterance
from otolith.inference.events import Detection
from otolith.inference.framing import INT16, INT16_SCALE, Samples

ENDED = "the utterance ended"


def verdict(card: Card, opinion: NDArray[np.float32], position: int, number: int) -> list[Detection]:
    """The utterance's label, of the last posteriors `(labels,)`: it starts and ends at `position`, its onset is 0.

    Nothing where it is the background.
    """
    best = int(opinion.argmax())
    label, confidence = card.labels[best], float(opinion[best])
    if label == card.background:
        return []
    return [
        Detection(position, number, label, "start", confidence, 0),
        Detection(position, number, label, "end", confidence, 0),
    ]


class Endpointer:
    """Finds where silence ends an utterance of sound: `silence_s` of it behind something louder.

    It looks at whole hops since the fresh start, so how the sound is cut into blocks makes no difference.
    """

    def __init__(self, hop_length: int, sample_rate: float, silence_s: float, silence_dbfs: float) -> None:
        self._hop_length = hop_length
        self._loud = 10 ** (silence_dbfs / 20)
        self._enough = max(1, round(silence_s * sample_rate / hop_length))  # silent hops
        self.forget()

    def forget(self) -> None:
        """The stream starts afresh."""
        self._heard = False  # anything loud, since then
        self._silent = 0  # hops in a row
        self._taken = 0  # samples of the hop that is not whole yet
        self._peak = 0.0  # of those

    def remember(self) -> tuple[bool, int, int, float]:
        """What is known of the utterance so far."""
        return self._heard, self._silent, self._taken, self._peak

    def recall(self, known: tuple[bool, int, int, float]) -> None:
        """Go on where another one stood."""
        self._heard, self._silent, self._taken, self._peak = known

    def skip(self) -> None:
        """Samples of a hop that is not whole are lost; the utterance goes on."""
        self._taken, self._peak = 0, 0.0

    def cut(self, samples: Samples) -> list[Samples]:
        """The block in pieces; an utterance ends behind each but the last, which may be empty."""
        if samples.dtype != INT16 and not np.isfinite(samples).all():  # the stream starts afresh behind it
            self.forget()
            return [samples]
        pieces, start, at = [], 0, 0
        while at < len(samples):
            hop = samples[at : at + self._hop_length - self._taken]
            at += len(hop)
            self._taken += len(hop)
            self._peak = max(self._peak, _peak(hop))
            if self._taken == self._hop_length and self._close_hop():
                pieces.append(samples[start:at])
                start = at
        return [*pieces, samples[start:]]

    def _close_hop(self) -> bool:
        """Take a whole hop into account: does an utterance end with it?"""
        is_loud = self._peak > self._loud
        self._silent = 0 if is_loud else self._silent + 1
        self._heard |= is_loud
        self._taken, self._peak = 0, 0.0
        if not self._heard or self._silent < self._enough:
            return False
        self.forget()
        return True


def make_endpointer(card: Card) -> Endpointer | None:
    """The endpointer of a model's card; none where silence ends nothing."""
    of = card.utterance
    if card.kind != "audio" or not isinstance(of, Utterance) or not of.silence_s:
        return None
    return Endpointer(card.hop_length, card.sample_rate, of.silence_s, of.silence_dbfs)


def _peak(samples: Samples) -> float:
    """The loudest sample, 0..1."""
    if not len(samples):
        return 0.0
    peak = max(float(samples.max()), -float(samples.min()))
    return peak * float(INT16_SCALE) if samples.dtype == INT16 else peak
