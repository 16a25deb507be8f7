"""The rehearsal on signals: the development ends, as recorded and at both ends of the speeds that are trained for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from otolith_training.data.signal_stitcher import QUALITY
from otolith_training.data.signals import Signal
from otolith_training.data.sounds import change_speed
from otolith_training.measure.rehearse import Metrics, posteriors_of, raw_features
from otolith_training.measure.scores import score
from otolith_training.measure.stretches import decide_stretches
from otolith_training.network.network import Network
from otolith_training.recipe import Recipe, Signals, Sound


class SignalRehearsal:
    """Signals from a fresh start, a decision a stretch.

    One record a machine leaves little to choose by: its end sounds like its beginning, and soon nothing is wrong. So
    ends are heard at other speeds too, and how sure the network is of what is right counts as much as its decisions.
    """

    def __init__(self, recipe: Recipe, signals: Sequence[tuple[Signal, int]]) -> None:
        frontend, streams = recipe.frontend, recipe.streams
        assert isinstance(frontend, Sound) and isinstance(streams, Signals)  # noqa: S101, PT018 - checked at the door
        self._hop, rate = frontend.hop_length, frontend.sample_rate
        self._length = max(self._hop, round(streams.stretch_s * rate))
        self._labels = recipe.all_labels
        self._heard: list[tuple[torch.Tensor, int, bool]] = []  # frames, label, as recorded
        for signal, label in signals:
            for speed in sorted({1.0, *streams.speed}):
                samples = change_speed(signal.samples, speed, rate, QUALITY)
                whole = len(samples) // self._hop
                if whole:
                    frames = np.ascontiguousarray(samples[: whole * self._hop]).reshape(1, whole, self._hop)
                    self._heard.append((torch.from_numpy(frames), label, speed == 1.0))

    def __call__(self, network: Network) -> Metrics:
        """Accuracy and macro-F1 of stretches as recorded, accuracy at all speeds, the mean posterior of the truth."""
        told: list[tuple[int, int, bool]] = []  # truth, found, as recorded
        sure = []
        for frames, label, as_recorded in self._heard:
            posteriors = posteriors_of(network, raw_features(network, frames))[0]
            told += [(label, found, as_recorded) for found in decide_stretches(posteriors, self._hop, self._length)]
            sure.append(posteriors[:, label])
        truth, found, recorded = (np.array(column) for column in zip(*told, strict=True))
        figures = score(truth[recorded], found[recorded], self._labels)
        everywhere, confidence = float((truth == found).mean()), float(np.concatenate(sure).mean())
        return {
            "score": (everywhere + confidence) / 2,
            "accuracy": figures["accuracy"],
            "macro_f1": figures["macro_f1"],
            "accuracy_at_speeds": everywhere,
            "confidence": confidence,
        }
