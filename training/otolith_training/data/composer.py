"""The composer: clips become endless labelled streams of sound, as a listener in a room would hear them.

Each stream goes from scene to scene (a background, a loudness, a colouring); words, unknown words and other sounds are
placed at random times. What a frame may be called is a *set* of labels: while a word is young nobody can know it, so
the word and the background are both right; near its end and shortly after, only the word is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from otolith_training.data.augment import Augmentation
from otolith_training.data.scenes import Scene, draw_scene, pick
from otolith_training.data.sounds import change_speed, faded, gain_to, reverberate
from otolith_training.data.targets import Targets
from otolith_training.data.words import Material, Word, turned
from otolith_training.recipe import Clips

Floats = NDArray[np.float32]
Seed = int | tuple[int, int]  # the second: one of many streams of the same seed

LONGEST_S = 3.0  # of what is placed at once


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word as it was placed: the truth that detections are held against."""

    stream: int
    label: int
    start: int  # samples since the composer began
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """The next piece of all streams."""

    frames: Floats  # (streams, frames, hop) samples, or (streams, frames, channels) rows
    allowed: NDArray[np.bool_]  # (streams, frames, labels): what each frame may be called; all: not counted
    fresh: NDArray[np.bool_]  # (streams,): starts afresh with this chunk
    colour_db: Floats | None = None  # (streams, bands): added to the spectrum
    spoken: list[Spoken] = field(default_factory=list)  # what began in this chunk
    lengths: NDArray[np.int64] | None = None  # (streams,): how many frames are a stream's own, where it is padded
    warp: Floats | None = None  # (streams,): factor on the frequencies of speech, as of another vocal tract
    ahead: Floats | None = None  # (streams, horizon, channels): the rows behind these, where rows are forecast
    counted: NDArray[np.bool_] | None = None  # (streams, frames): whose forecasts are learned from


class ClipComposer:
    """Endless streams of `hop`-sample frames; the same seed gives the same streams."""

    def __init__(
        self,
        material: Material,
        settings: Clips,
        targets: Targets,
        *,
        sample_rate: int,
        hop_length: int,
        streams: int,
        frames: int,
        bands: int,
        fresh_start: float,
        seed: Seed,
        augment: Augmentation | None = None,
    ) -> None:
        self._material = material
        self._settings = settings
        self._targets = targets
        self._rate = sample_rate
        self._hop = hop_length
        self._frames = frames
        self._length = frames * hop_length
        self._fresh_start = fresh_start
        self._random = np.random.default_rng(seed)
        self._augment = augment
        self._keywords = [words for index, words in enumerate(material.words) if words and index != targets.unknown]
        unknown = targets.unknown
        self._unknown = material.words[unknown] if unknown is not None else []
        self._longest = int(LONGEST_S * sample_rate)
        ahead = self._length + (math.ceil((LONGEST_S + 2.0) * sample_rate) // hop_length + 1) * hop_length
        self._sound = np.zeros((streams, ahead), np.float32)
        self._allowed = np.zeros((streams, ahead // hop_length, targets.count), bool)
        self._allowed[:] = targets.quiet(speech=False)
        self._bands = bands
        self._scenes = [Scene(np.zeros(bands, np.float32)) for _ in range(streams)]
        self._next_at = [self._draw_gap() for _ in range(streams)]  # samples from now
        self._busy_until = [0] * streams  # samples from now, until when frames are marked by what was placed
        self._now = 0
        self._spoken: list[Spoken] = []

    def next(self) -> Chunk:
        """The next `frames` frames of every stream."""
        streams = len(self._sound)
        fresh = self._random.random(streams) < self._fresh_start
        if self._now == 0:
            fresh[:] = True
        frames = np.empty((streams, self._length), np.float32)
        self._spoken = []
        for stream in range(streams):
            if fresh[stream]:
                self._begin_afresh(stream)
            frames[stream] = self._background(stream)
            while self._next_at[stream] < self._length:
                self._place(stream)
            self._next_at[stream] -= self._length
            self._busy_until[stream] -= self._length
        frames += self._sound[:, : self._length]
        np.clip(frames, -1, 1, out=frames)
        allowed = self._allowed[:, : self._frames].copy()
        self._advance()
        colour_db = np.stack([scene.colour_db for scene in self._scenes])
        warp = np.array([scene.warp for scene in self._scenes], np.float32) if self._settings.vocal_tract else None
        return Chunk(
            frames.reshape(streams, self._frames, self._hop), allowed, fresh, colour_db, self._spoken, warp=warp
        )

    def _advance(self) -> None:
        self._now += self._length
        self._sound[:, : -self._length] = self._sound[:, self._length :]
        self._sound[:, -self._length :] = 0
        self._allowed[:, : -self._frames] = self._allowed[:, self._frames :]
        for stream, scene in enumerate(self._scenes):
            self._allowed[stream, -self._frames :] = self._targets.quiet(speech=scene.speech)

    def _begin_afresh(self, stream: int) -> None:
        self._sound[stream] = 0
        self._next_at[stream] = self._draw_gap()
        self._busy_until[stream] = 0
        if self._random.random() < self._settings.start_on_clip:
            before = self._scenes[stream]
            self._scenes[stream] = Scene(before.colour_db, before.warp, left=self._rate * 2)
            self._allowed[stream] = self._targets.quiet(speech=False)
            self._place_whole_clip(stream)
        else:
            self._begin_scene(stream)

    def _begin_scene(self, stream: int) -> None:
        scene = draw_scene(self._random, self._settings, self._material, self._rate, self._bands)
        self._scenes[stream] = scene
        self._allowed[stream] = self._targets.quiet(speech=scene.speech)

    def _background(self, stream: int) -> Floats:
        """The background of the next chunk; a scene that is over is followed by another once no word hangs over."""
        if self._scenes[stream].left <= 0 and self._busy_until[stream] <= 0:
            self._begin_scene(stream)
        return self._scenes[stream].background(self._length)

    def _place(self, stream: int) -> None:
        """Place what comes next, and draw when the one after it comes."""
        s, random = self._settings, self._random
        at = self._next_at[stream]
        place = self._place_negative if random.random() < s.negatives else self._place_word
        length = place(stream, at)
        self._next_at[stream] = at + length + self._draw_gap()

    def _place_word(self, stream: int, at: int) -> int:
        """Place a word with a little of what stands around it in its clip; returns the length in samples."""
        word = self._draw_word()
        random = self._random
        backwards = bool(self._settings.backwards) and random.random() < self._settings.backwards
        if backwards:
            word = turned(word)
        speed = random.uniform(*self._settings.speed)
        samples = change_speed(word.samples, speed, self._rate)
        start, end = int(word.start / speed), min(int(word.end / speed), len(samples))
        first = max(0, start - int(random.uniform(0.02, 0.25) * self._rate))
        last = min(len(samples), end + int(random.uniform(0.02, 0.25) * self._rate))
        piece = self._augmented(samples[first:last])
        gain = gain_to(piece[start - first : end - first], self._scenes[stream].level_db + random.uniform(-3, 3))
        piece = faded(piece * np.float32(gain), self._rate)
        if random.random() < self._settings.reverb:
            piece = reverberate(random, piece, self._rate)
        piece = piece[: self._longest]
        self._sound[stream, at : at + len(piece)] += piece
        if backwards:
            self._mark_speech(stream, at, at + len(piece))
        else:
            self._mark(stream, word.label, at + start - first, at + min(end - first, self._longest))
        return min(last - first, self._longest)

    def _place_whole_clip(self, stream: int) -> None:
        """Place a clip as it is, from the first sample on."""
        word = self._draw_word()
        gain = 10 ** (self._random.normal(0, self._settings.clip_gain_db) / 20)
        samples = word.samples[: self._longest]
        self._sound[stream, : len(samples)] += samples * np.float32(gain)
        self._mark(stream, word.label, min(word.start, len(samples)), min(word.end, len(samples)))
        self._next_at[stream] = len(samples) + self._draw_gap()

    def _place_negative(self, stream: int, at: int) -> int:
        """Place a sound that is no word, as loud as words are."""
        random, material = self._random, self._material
        speech = bool(material.speech) and random.random() < 0.7
        source = pick(random, material.speech if speech else material.noise)
        length = min(len(source), int(random.uniform(0.2, LONGEST_S) * self._rate))
        first = int(random.integers(len(source) - length + 1))
        piece = source[first : first + length]
        if self._settings.negative_speed != (1.0, 1.0):  # what is off draws nothing
            piece = change_speed(piece, random.uniform(*self._settings.negative_speed), self._rate)[: self._longest]
        length = len(piece)
        piece = self._augmented(piece)  # as words are, or what is done to them gave them away
        gain = gain_to(piece, self._scenes[stream].level_db + random.uniform(-6, 3))
        self._sound[stream, at : at + length] += faded(piece * np.float32(gain), self._rate)
        if speech:
            self._mark_speech(stream, at, at + length)
        self._busy_until[stream] = at + length
        return length

    def _augmented(self, piece: Floats) -> Floats:
        return piece if self._augment is None else self._augment(self._random, piece)

    def _mark_speech(self, stream: int, start: int, end: int) -> None:
        self._targets.mark_speech(self._allowed[stream], start // self._hop, -(-end // self._hop))
        self._busy_until[stream] = end

    def _mark(self, stream: int, label: int, start: int, end: int) -> None:
        held = round(self._settings.held_s * self._rate)
        known = start + round(self._settings.known_after * (end - start))
        moments = [_frame_of(moment, self._hop) for moment in (start, known, end + held, end + 2 * held)]
        self._targets.mark_word(self._allowed[stream], label, *moments)
        self._busy_until[stream] = end + 2 * held + self._hop
        self._spoken.append(Spoken(stream, label, self._now + start, self._now + end))

    def _draw_word(self) -> Word:
        if self._unknown and (not self._keywords or self._random.random() < self._settings.unknown):
            return pick(self._random, self._unknown)
        return pick(self._random, pick(self._random, self._keywords))

    def _draw_gap(self) -> int:
        return int(self._random.uniform(*self._settings.gap_s) * self._rate)


def _frame_of(sample: int, hop: int) -> int:
    """The first frame that has heard all up to `sample`."""
    return max(0, -(-sample // hop) - 1)
