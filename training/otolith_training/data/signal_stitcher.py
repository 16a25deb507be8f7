"""The signal stitcher: pieces of recordings become endless streams, one machine after another.

A piece is varied as machines and sensors vary: a little faster or slower (another load moves every line of the spectrum
alike), louder or quieter, and under another colouring. So that no label is rarer than others, the label is drawn first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError
from otolith_training.data.composer import Chunk, Seed
from otolith_training.data.scenes import pick
from otolith_training.data.signals import Signal
from otolith_training.data.sounds import change_speed, smooth_curve
from otolith_training.recipe import Signals, Sound

Floats = NDArray[np.float32]
Sets = NDArray[np.bool_]

QUALITY = "MQ"  # soxr's: cubic lines, enough for speech, would lay the highest bands over others


@dataclass(frozen=True, slots=True)
class Heard:
    """What lies ahead in one stream: samples, and for each of their hops what it may be called."""

    samples: Floats  # (hops * hop_length,)
    allowed: Sets  # (hops, labels)
    label: int  # of the last piece


class SignalStitcher:
    """Endless streams of `hop`-sample frames; the same seed gives the same streams."""

    def __init__(
        self,
        signals: Sequence[tuple[Signal, int]],
        settings: Signals,
        frontend: Sound,
        labels: int,
        *,
        streams: int,
        frames: int,
        fresh_start: float,
        seed: Seed,
    ) -> None:
        """`signals` are of one split, each with its label's index."""
        self._settings, self._frontend = settings, frontend
        shortest = 2 * round(frontend.hop_length * settings.speed[1])  # played fastest it must still fill a frame
        heard = [(signal.samples, label) for signal, label in signals if len(signal.samples) >= shortest]
        by_label = [[samples for samples, index in heard if index == label] for label in range(labels)]
        self._by_label = [(label, samples) for label, samples in enumerate(by_label) if samples]
        if not self._by_label:
            raise OtolithError(f"no recording to learn from is {shortest} samples long; bring longer ones")
        self._labels, self._frames, self._fresh_start = labels, frames, fresh_start
        self._warm_up = -(-frontend.window_length // frontend.hop_length) - 1  # frames whose window is not full yet
        self._known_after = round(settings.known_after_s * frontend.sample_rate / frontend.hop_length)
        self._random = np.random.default_rng(seed)
        self._ahead: list[Heard | None] = [None] * streams

    def next(self) -> Chunk:
        """The next `frames` frames of every stream."""
        streams, hop = len(self._ahead), self._frontend.hop_length
        fresh = self._random.random(streams) < self._fresh_start
        frames = np.empty((streams, self._frames, hop), np.float32)
        allowed = np.empty((streams, self._frames, self._labels), bool)
        for stream in range(streams):
            fresh[stream] |= self._ahead[stream] is None
            heard = self._draw(None) if fresh[stream] else self._ahead[stream]
            while heard is None or len(heard.allowed) < self._frames:
                heard = self._draw(heard)
            frames[stream] = heard.samples[: self._frames * hop].reshape(-1, hop)
            allowed[stream] = heard.allowed[: self._frames]
            rest = heard.samples[self._frames * hop :], heard.allowed[self._frames :]
            self._ahead[stream] = Heard(*rest, heard.label)
        curves = [smooth_curve(self._random, self._frontend.bands) for _ in range(streams)]
        return Chunk(frames, allowed, fresh, np.stack(curves) * np.float32(self._settings.equalizer_db))

    def _draw(self, before: Heard | None) -> Heard:
        """What lies ahead with a further piece behind it; where nothing does, the piece begins a stream."""
        label, recordings = pick(self._random, self._by_label)
        piece = self._vary(pick(self._random, recordings))
        allowed = np.zeros((len(piece) // self._frontend.hop_length, self._labels), bool)
        allowed[:, label] = True
        if before is None:
            allowed[: self._warm_up] = True  # not counted
            return Heard(piece, allowed, label)
        allowed[: self._known_after, before.label] = True
        return Heard(np.concatenate((before.samples, piece)), np.concatenate((before.allowed, allowed)), label)

    def _vary(self, recording: Floats) -> Floats:
        """A piece of the recording, of whole hops."""
        s, random, rate = self._settings, self._random, self._frontend.sample_rate
        speed = random.uniform(*s.speed)
        length = min(len(recording), round(random.uniform(*s.piece_s) * speed * rate))
        first = int(random.integers(len(recording) - length + 1))
        piece = change_speed(recording[first : first + length], speed, rate, QUALITY)
        louder: Floats = np.clip(piece * np.float32(10 ** (random.normal(0, s.gain_db) / 20)), -1, 1)  # as a sensor
        return louder[: len(louder) // self._frontend.hop_length * self._frontend.hop_length]
