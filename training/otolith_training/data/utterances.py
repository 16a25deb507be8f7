"""Batches of whole utterances, each from a fresh start: clips, runs or lines, padded to the longest of the batch.

Only the frames at which an utterance's label must be known are counted; those before may be called anything, and so may
the padding behind it, which a network that looks only backwards never meets before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otolith_training.data.composer import Chunk, Floats, Seed
from otolith_training.data.sounds import change_speed
from otolith_training.data.stitcher import even_pace, take_rows
from otolith_training.recipe import Utterances

Frames = NDArray[np.float32] | NDArray[np.int64]  # (frames, ...) of one utterance
Vary = Callable[[np.random.Generator, Frames], tuple[Frames, int]]  # varied, and how many frames its label stands after

BATCHES_SORTED = 20  # so many batches' utterances are sorted by length, that there be little padding


@dataclass(frozen=True, slots=True, eq=False)
class UtteranceSet:
    """The utterances of one split: samples, rows or tokens, and the index of each one's label."""

    utterances: Sequence[Floats | NDArray[np.int64]]
    labels: NDArray[np.int64]


class UtteranceComposer:
    """Endless batches; each utterance comes once before any comes again. The same seed gives the same batches.

    `vary` makes frames of an utterance, as it may sound another time.
    """

    def __init__(
        self,
        utterances: UtteranceSet,
        settings: Utterances,
        vary: Vary,
        labels: int,
        *,
        streams: int,
        longest: int,
        seed: Seed,
    ) -> None:
        self._utterances, self._settings, self._vary = utterances, settings, vary
        self._labels, self._streams, self._longest = labels, streams, longest
        self._random = np.random.default_rng(seed)
        self._left: list[int] = []  # of this round
        self._batches: list[list[int]] = []

    def next(self) -> Chunk:
        """The next batch."""
        if not self._batches:
            self._deal()
        batch = self._batches.pop()
        drawn = [self._vary(self._random, self._utterances.utterances[index]) for index in batch]
        varied = [(frames[-self._longest :], behind) for frames, behind in drawn]
        length = max(len(frames) for frames, _ in varied)
        first = varied[0][0]
        frames = np.zeros((self._streams, length, *first.shape[1:]), first.dtype)
        allowed = np.ones((self._streams, length, self._labels), bool)
        for stream, (index, (values, behind)) in enumerate(zip(batch, varied, strict=True)):
            frames[stream, : len(values)] = values
            known = self._known_from(len(values) - behind)
            allowed[stream, known : len(values)] = False
            allowed[stream, known : len(values), self._utterances.labels[index]] = True
        lengths = np.array([len(values) for values, _ in varied])
        return Chunk(frames, allowed, np.ones(self._streams, bool), lengths=lengths)

    def _known_from(self, frames: int) -> int:
        """The first frame at which the label of so many frames must be known."""
        return max(0, min(frames - 1, round(self._settings.known_after * frames)))

    def _deal(self) -> None:
        """The next few batches: utterances of like length together, in random order."""
        wanted = min(BATCHES_SORTED, max(1, len(self._utterances.labels) // self._streams)) * self._streams
        while len(self._left) < wanted:
            self._left += self._random.permutation(len(self._utterances.labels)).tolist()
        dealt, self._left = self._left[:wanted], self._left[wanted:]
        dealt.sort(key=lambda index: len(self._utterances.utterances[index]))
        batches = [dealt[start : start + self._streams] for start in range(0, wanted, self._streams)]
        self._batches = [batches[index] for index in self._random.permutation(len(batches))]


def as_they_are(random: np.random.Generator, frames: Frames) -> tuple[Frames, int]:  # noqa: ARG001 - nothing is drawn
    """Tokens: what is varied of them is varied in the front end."""
    return frames, 0


class VariedRows:
    """Rows as another wearer or machine would have them: quicker or slower, with noise."""

    def __init__(self, settings: Utterances, deviation: Floats) -> None:
        self._settings, self._deviation = settings, deviation

    def __call__(self, random: np.random.Generator, frames: Frames) -> tuple[Frames, int]:
        """The rows `(rows, channels)`, varied."""
        place = even_pace(len(frames), random.uniform(*self._settings.speed))
        values, _ = take_rows(frames.astype(np.float32), np.zeros(len(frames), np.int64), place)
        noise = random.standard_normal(values.shape, np.float32) * self._deviation
        return values + noise * np.float32(self._settings.jitter), 0


class VariedSound:
    """A clip as it may be said elsewhere: quicker, louder, over a background, with some of that before it.

    Behind it comes as much background as would end the utterance, all through which its label stands.
    """

    def __init__(self, settings: Utterances, noise: Sequence[Floats], rate: int, hop_length: int) -> None:
        self._settings, self._noise, self._rate, self._hop_length = settings, noise, rate, hop_length

    def __call__(self, random: np.random.Generator, frames: Frames) -> tuple[Frames, int]:
        """Hops `(frames, hop_length)` of the samples of a clip, and how many come behind it."""
        s = self._settings
        samples = change_speed(frames.astype(np.float32), random.uniform(*s.speed), self._rate)
        samples = samples * np.float32(10 ** (random.normal(0, s.clip_gain_db) / 20))
        lead, tail = random.uniform(0, s.lead_s), random.uniform(0, s.silence_s)
        sound = np.pad(samples, (round(lead * self._rate), round(tail * self._rate)))
        hops = max(1, len(sound) // self._hop_length)
        sound = np.pad(sound, (0, max(0, hops * self._hop_length - len(sound))))[: hops * self._hop_length]
        sound = sound + self._background(random, len(sound), samples)
        behind = min(hops - 1, int(tail * self._rate / self._hop_length))
        return np.clip(sound, -1, 1).astype(np.float32).reshape(hops, self._hop_length), behind

    def _background(self, random: np.random.Generator, length: int, samples: Floats) -> Floats:
        """A stretch of a background, as far below the clip as is drawn."""
        if not self._noise:
            return np.zeros(length, np.float32)
        source = self._noise[int(random.integers(len(self._noise)))]
        first = int(random.integers(max(1, len(source) - length)))
        piece = np.resize(source[first : first + length], length)
        loudness, own = (float(np.sqrt(np.mean(np.square(of)))) for of in (samples, piece))
        below = 10 ** (-random.uniform(*self._settings.snr_db) / 20)
        return np.asarray(piece * np.float32(loudness * below / max(own, 1e-9)), np.float32)
