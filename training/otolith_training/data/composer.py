"""The composer: clips become endless labelled streams of sound, as a listener in a room would hear them.

Each stream goes from scene to scene (a background, a loudness, a colouring); words, unknown words and other sounds are
placed at random times. What a frame may be called is a *set* of labels: while a word is young nobody can know it, so
the word and the background are both right; near its end and shortly after, only the word is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from otolith_training.data.targets import Targets
from otolith_training.recipe import Clips

Floats = NDArray[np.float32]
T = TypeVar("T")

LONGEST_S = 3.0  # of what is placed at once
FADE_S = 0.02  # a clip's own room begins and ends softly, so that no click gives a word away
SILENT = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """A clip's samples, where the word stands in them, and its label's index."""

    samples: Floats  # (n,)
    start: int
    end: int
    label: int


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What streams are composed of, all at one sample rate."""

    words: Sequence[Sequence[Word]]  # by label; none for the background
    noise: Sequence[Floats]
    speech: Sequence[Floats]


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


@dataclass(slots=True)
class _Scene:
    left: int = 0  # samples until the next one
    level_db: float = -30.0
    bed: Floats | None = None
    at: int = 0
    gain: float = 0.0
    speech: bool = False


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
        seed: int,
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
        self._keywords = [words for index, words in enumerate(material.words) if words and index != targets.unknown]
        unknown = targets.unknown
        self._unknown = material.words[unknown] if unknown is not None else []
        self._longest = int(LONGEST_S * sample_rate)
        ahead = self._length + (math.ceil((LONGEST_S + 2.0) * sample_rate) // hop_length + 1) * hop_length
        self._sound = np.zeros((streams, ahead), np.float32)
        self._allowed = np.zeros((streams, ahead // hop_length, targets.count), bool)
        self._allowed[:] = targets.quiet(speech=False)
        self._scenes = [_Scene() for _ in range(streams)]
        self._colour = np.zeros((streams, bands), np.float32)
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
            frames[stream] = self._bed(stream)
            while self._next_at[stream] < self._length:
                self._place(stream)
            self._next_at[stream] -= self._length
            self._busy_until[stream] -= self._length
        frames += self._sound[:, : self._length]
        np.clip(frames, -1, 1, out=frames)
        allowed = self._allowed[:, : self._frames].copy()
        self._advance()
        return Chunk(
            frames.reshape(streams, self._frames, self._hop), allowed, fresh, self._colour.copy(), self._spoken
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
            self._scenes[stream] = _Scene(left=self._rate * 2)
            self._allowed[stream] = self._targets.quiet(speech=False)
            self._place_whole_clip(stream)
        else:
            self._begin_scene(stream)

    def _begin_scene(self, stream: int) -> None:
        s, random = self._settings, self._random
        scene = _Scene(left=int(random.uniform(*s.scene_s) * self._rate), level_db=random.uniform(*s.level_db))
        kind = random.random()
        if kind >= s.clean:
            scene.speech = bool(kind < s.clean + s.speech_bed and self._material.speech)
            beds = self._material.speech if scene.speech else self._material.noise
            scene.bed = _pick(random, beds)
            scene.at = int(random.integers(len(scene.bed)))
            scene.gain = _gain(scene.bed, scene.level_db - random.uniform(*s.snr_db))
        elif random.random() < 0.5:  # a quiet room or microphone, rather than digital silence
            scene.bed = random.standard_normal(self._rate).astype(np.float32)
            scene.gain = 10 ** (random.uniform(-95, -65) / 20)
        self._scenes[stream] = scene
        self._allowed[stream] = self._targets.quiet(speech=scene.speech)
        bands = self._colour.shape[1]
        self._colour[stream] = smooth_curve(random, bands) * s.equalizer_db

    def _bed(self, stream: int) -> Floats:
        """The background of the next chunk; a scene that is over is followed by another once no word hangs over."""
        scene = self._scenes[stream]
        if scene.left <= 0 and self._busy_until[stream] <= 0:
            self._begin_scene(stream)
            scene = self._scenes[stream]
        scene.left -= self._length
        if scene.bed is None:
            return np.zeros(self._length, np.float32)
        bed = np.take(scene.bed, np.arange(scene.at, scene.at + self._length), mode="wrap")
        scene.at = (scene.at + self._length) % len(scene.bed)
        return bed * np.float32(scene.gain)

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
        speed = random.uniform(*self._settings.speed)
        samples = change_speed(word.samples, speed, self._rate)
        start, end = int(word.start / speed), min(int(word.end / speed), len(samples))
        first = max(0, start - int(random.uniform(0.02, 0.25) * self._rate))
        last = min(len(samples), end + int(random.uniform(0.02, 0.25) * self._rate))
        level_db = self._scenes[stream].level_db + random.uniform(-3, 3)
        gain = _gain(samples[start:end], level_db)
        piece = _faded(samples[first:last] * np.float32(gain), int(FADE_S * self._rate))
        if random.random() < self._settings.reverb:
            piece = self._reverberate(piece)
        piece = piece[: self._longest]
        self._sound[stream, at : at + len(piece)] += piece
        self._mark(stream, word.label, at + start - first, at + min(end - first, self._longest))
        return min(last - first, self._longest)

    def _place_whole_clip(self, stream: int) -> None:
        """Place a clip as it is, from the first sample on."""
        word = self._draw_word()
        gain = 10 ** (self._random.normal(0, 5) / 20)
        samples = word.samples[: self._longest]
        self._sound[stream, : len(samples)] += samples * np.float32(gain)
        self._mark(stream, word.label, min(word.start, len(samples)), min(word.end, len(samples)))
        self._next_at[stream] = len(samples) + self._draw_gap()

    def _place_negative(self, stream: int, at: int) -> int:
        """Place a sound that is no word, as loud as words are."""
        random, material = self._random, self._material
        speech = bool(material.speech) and random.random() < 0.7
        source = _pick(random, material.speech if speech else material.noise)
        length = min(len(source), int(random.uniform(0.2, LONGEST_S) * self._rate))
        first = int(random.integers(len(source) - length + 1))
        piece = source[first : first + length]
        gain = _gain(piece, self._scenes[stream].level_db + random.uniform(-6, 3))
        self._sound[stream, at : at + length] += _faded(piece * np.float32(gain), int(FADE_S * self._rate))
        if speech:
            self._targets.mark_speech(self._allowed[stream], at // self._hop, -(-(at + length) // self._hop))
        self._busy_until[stream] = at + length
        return length

    def _mark(self, stream: int, label: int, start: int, end: int) -> None:
        held = round(self._settings.held_s * self._rate)
        known = start + round(self._settings.known_after * (end - start))
        moments = [_frame_of(moment, self._hop) for moment in (start, known, end + held, end + 2 * held)]
        self._targets.mark_word(self._allowed[stream], label, *moments)
        self._busy_until[stream] = end + 2 * held + self._hop
        self._spoken.append(Spoken(stream, label, self._now + start, self._now + end))

    def _draw_word(self) -> Word:
        if self._unknown and (not self._keywords or self._random.random() < self._settings.unknown):
            return _pick(self._random, self._unknown)
        return _pick(self._random, _pick(self._random, self._keywords))

    def _draw_gap(self) -> int:
        return int(self._random.uniform(*self._settings.gap_s) * self._rate)

    def _reverberate(self, piece: Floats) -> Floats:
        """The piece as heard in a small room: noise that decays behind the direct sound."""
        from scipy.signal import fftconvolve  # type: ignore[import-untyped]

        random = self._random
        decay_s = random.uniform(0.05, 0.3)
        time_s = np.arange(int(decay_s * self._rate)) / self._rate
        tail = random.standard_normal(len(time_s)) * np.exp(-6.9 * time_s / decay_s)
        tail *= 10 ** (random.uniform(-12, 3) / 20) / np.sqrt(np.sum(tail**2) + SILENT)
        tail[0] += 1.0
        heard: Floats = fftconvolve(piece, tail.astype(np.float32))[: self._longest].astype(np.float32)
        return heard


def find_word(samples: Floats, rate: int) -> tuple[int, int]:
    """Where the word in a clip starts and ends, by energy in steps of 10 ms: the stretch around the loudest moment.

    It reaches to where the smoothed energy stays 28 dB below the loudest, or near the clip's quietest tenth.
    """
    step = max(1, rate // 100)
    count = len(samples) // step
    if count < 5:
        return 0, len(samples)
    energy = np.square(samples[: count * step].reshape(count, step)).mean(axis=1) + 1e-12
    smooth = 10 * np.log10(np.convolve(energy, np.ones(5) / 5, mode="same"))
    peak, floor = float(smooth.max()), float(np.quantile(smooth, 0.1))
    limit = max(peak - 28, min(floor + 6, peak - 6))  # the f of off is 25 dB below its vowel
    loud = smooth > limit
    first = last = int(smooth.argmax())
    patience = 12  # a stop consonant is silent for a tenth of a second within its word
    while first > 0 and loud[max(0, first - patience) : first].any():
        first -= 1
    while last < count - 1 and loud[last + 1 : last + 1 + patience].any():
        last += 1
    return first * step, (last + 1) * step


def change_speed(samples: Floats, speed: float, rate: int) -> Floats:
    """The samples played `speed` times as fast, pitch and all."""
    import soxr

    if abs(speed - 1) < 1e-3:
        return samples
    return np.asarray(soxr.resample(samples, rate * speed, rate, quality="QQ"), np.float32)


def coloured_noise(random: np.random.Generator, length: int, slope_db: float) -> Floats:
    """Noise of deviation 1 whose spectrum falls by `slope_db` an octave (0 white, -3 pink, -6 brown)."""
    spectrum = np.fft.rfft(random.standard_normal(length))
    octave = np.log2(np.maximum(np.arange(len(spectrum)), 16) / 16)
    noise = np.fft.irfft(spectrum * 10 ** (slope_db * octave / 20), length)
    return np.asarray(noise / noise.std(), np.float32)


def smooth_curve(random: np.random.Generator, bands: int) -> Floats:
    """A random curve over bands that a cheap microphone could have: deviation about 1, no sharp edges."""
    place = np.arange(bands) / max(1, bands - 1)
    curve = sum(random.normal(0, 0.5) * np.cos(np.pi * k * place + random.uniform(0, np.pi)) for k in (1, 2, 3, 4))
    return np.asarray(curve, np.float32)


def _frame_of(sample: int, hop: int) -> int:
    """The first frame that has heard all up to `sample`."""
    return max(0, -(-sample // hop) - 1)


def _gain(samples: Floats, level_db: float) -> float:
    rms = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
    return float(10 ** (level_db / 20) / max(rms, 1e-4))


def _faded(piece: Floats, fade: int) -> Floats:
    fade = min(fade, len(piece) // 2)
    if fade:
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        piece[:fade] *= ramp
        piece[-fade:] *= ramp[::-1]
    return piece


def _pick(random: np.random.Generator, items: Sequence[T]) -> T:
    return items[int(random.integers(len(items)))]
