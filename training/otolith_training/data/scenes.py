"""Scenes: what is behind the words for a while (a background, a loudness, a colouring), one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from otolith_training.data.sounds import gain_to, smooth_curve
from otolith_training.data.words import Material
from otolith_training.recipe import Clips

Floats = NDArray[np.float32]
T = TypeVar("T")


@dataclass(slots=True)
class Scene:
    """What one stream hears behind its words."""

    colour_db: Floats  # (bands,): added to the spectrum
    warp: float = 1.0  # factor on the frequencies of speech
    left: int = 0  # samples until the next one
    level_db: float = -30.0  # of words
    bed: Floats | None = None  # goes round and round; none: digital silence
    at: int = 0
    gain: float = 0.0
    speech: bool = False  # the bed is speech

    def background(self, length: int) -> Floats:
        """The next `length` samples of background."""
        self.left -= length
        if self.bed is None:
            return np.zeros(length, np.float32)
        bed = np.take(self.bed, np.arange(self.at, self.at + length), mode="wrap")
        self.at = (self.at + length) % len(self.bed)
        return bed * np.float32(self.gain)


def draw_scene(random: np.random.Generator, settings: Clips, material: Material, rate: int, bands: int) -> Scene:
    """A scene as the recipe wants them."""
    s = settings
    scene = Scene(np.zeros(bands, np.float32), left=int(random.uniform(*s.scene_s) * rate))
    scene.level_db = random.uniform(*s.level_db)
    kind = random.random()
    if kind >= s.clean:
        scene.speech = bool(kind < s.clean + s.speech_bed and material.speech)
        scene.bed = pick(random, material.speech if scene.speech else material.noise)
        scene.at = int(random.integers(len(scene.bed)))
        scene.gain = gain_to(scene.bed, scene.level_db - random.uniform(*s.snr_db))
    elif random.random() < 0.5:  # a quiet room or microphone, rather than digital silence
        scene.bed = random.standard_normal(rate).astype(np.float32)
        scene.gain = 10 ** (random.uniform(-95, -65) / 20)
    scene.colour_db = smooth_curve(random, bands) * np.float32(s.equalizer_db)
    if s.vocal_tract:  # drawn only where it is asked for, so that recipes without it keep their streams
        scene.warp = random.uniform(1 - s.vocal_tract, 1 + s.vocal_tract)
    return scene


def pick(random: np.random.Generator, items: Sequence[T]) -> T:
    """One of the items, each as likely."""
    return items[int(random.integers(len(items)))]
