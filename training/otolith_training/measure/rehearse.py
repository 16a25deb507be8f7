"""The rehearsal: what the network in training is worth on the development split, epoch by epoch.

It uses torch and batches, to be quick; what is told in the end is measured by `evaluate.py` with the daemon's `Stream`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otolith.inference.card import Card
from otolith_training.data.composer import ClipComposer, Spoken
from otolith_training.data.material import RowSet, SoundSet
from otolith_training.measure.decide import TAIL_S, decide
from otolith_training.measure.scores import score
from otolith_training.measure.streams import listen
from otolith_training.network.network import Network

Metrics = dict[str, float]
CHUNK = 500  # frames stepped at once


class Rehearsal(Protocol):
    """Measures a network; `score` among the metrics is what chooses the best epoch, higher is better."""

    def __call__(self, network: Network) -> Metrics:
        """Metrics on the development split."""
        ...


class ClipRehearsal:
    """Clips from a fresh start, and composed streams with the state carried throughout."""

    def __init__(self, clips: SoundSet, composer: ClipComposer, chunks: int, card: Card) -> None:
        self._card = card
        rate, hop = int(card.sample_rate), card.hop_length
        longest = max(len(word.samples) for _, word in clips.clips) + int(TAIL_S * rate)
        padded = np.zeros((len(clips.clips), -(-longest // hop) * hop), np.float32)
        for row, (_, word) in zip(padded, clips.clips, strict=True):
            row[: len(word.samples)] = word.samples
        self._clips = torch.from_numpy(padded.reshape(len(padded), -1, hop))
        self._frames = [-(-(len(w.samples) + int(TAIL_S * rate)) // hop) for _, w in clips.clips]
        self._truth = np.array([word.label for _, word in clips.clips])
        composed = [composer.next() for _ in range(chunks)]
        self._streams = torch.from_numpy(np.concatenate([chunk.frames for chunk in composed], axis=1))
        self._allowed = np.concatenate([chunk.allowed for chunk in composed], axis=1)
        self._spoken: list[Spoken] = [word for chunk in composed for word in chunk.spoken]
        self._raw: list[Tensor] | None = None

    def __call__(self, network: Network) -> Metrics:
        """Accuracy on clips; words missed and false alarms an hour on streams."""
        if self._raw is None:  # the front end does not learn
            self._raw = [raw_features(network, self._clips), raw_features(network, self._streams)]
        card = self._card
        clips, streams = posteriors_of(network, self._raw[0], self._frames), posteriors_of(network, self._raw[1])
        decided = zip(clips, self._frames, strict=True)
        found = [decide(rows[:count], card.labels, card.background, card.frame_rate) for rows, count in decided]
        accuracy = float((np.array(found) == self._truth).mean())
        heard = listen(streams, self._spoken, card, card.detector)
        right = (streams * self._allowed).sum(axis=-1)
        return {
            "score": (accuracy + heard.f1) / 2,
            "accuracy": accuracy,
            "stream_loss": float(-np.log(np.maximum(right, 1e-7)).mean()),
            "stream_f1": heard.f1,
            "stream_missed": heard.missed,
            "stream_false_alarms_per_hour": heard.false_alarms_per_hour,
            "stream_lateness_s": float(np.median(heard.lateness_s)) if heard.lateness_s else float("nan"),
        }


class RowRehearsal:
    """Runs from a fresh start, each row against its label."""

    def __init__(self, rows: RowSet, labels: Sequence[str]) -> None:
        self._labels = labels
        self._lengths = [len(run.values) for run in rows.runs]
        padded = np.zeros((len(rows.runs), max(self._lengths), rows.runs[0].values.shape[1]), np.float32)
        for row, run in zip(padded, rows.runs, strict=True):
            row[: len(run.values)] = run.values
        self._runs = torch.from_numpy(padded)
        self._truth = np.concatenate(rows.labels)

    def __call__(self, network: Network) -> Metrics:
        """Accuracy and macro-F1 over all rows."""
        posteriors = posteriors_of(network, raw_features(network, self._runs), self._lengths)
        found = [rows[:length].argmax(axis=1) for rows, length in zip(posteriors, self._lengths, strict=True)]
        figures = score(self._truth, np.concatenate(found), self._labels)
        accuracy, macro_f1 = figures["accuracy"], figures["macro_f1"]
        return {"score": (accuracy + macro_f1) / 2, "accuracy": accuracy, "macro_f1": macro_f1}


def raw_features(network: Network, frames: Tensor) -> Tensor:
    """Raw features of whole streams `(streams, frames, bands)`, a stretch at a time to spare memory."""
    state = network.frontend.fresh_state(len(frames))
    parts = []
    with torch.inference_mode():
        for part in torch.split(frames.to(network.device), CHUNK, dim=1):
            raw, state = network.frontend.raw(part, state)
            parts.append(raw)
    return torch.cat(parts, dim=1)


def posteriors_of(network: Network, raw: Tensor, lengths: Sequence[int] | None = None) -> NDArray[np.float32]:
    """Posteriors `(streams, frames, labels)` of raw features, the state carried from a fresh start.

    A network that looks ahead looks over the whole of each stream, whose `lengths` it must be told where it is padded.
    """
    network.eval()
    state = network.fresh_state(len(raw))
    ahead = network.settings.bidirectional
    own = torch.tensor(lengths) if ahead and lengths is not None else None
    parts = []
    with torch.inference_mode():
        for part in torch.split(raw.to(network.device), raw.shape[1] if ahead else CHUNK, dim=1):
            logits, following = network.logits(network.frontend.scaled(part), state, own)
            state = {**state, **following}
            parts.append(network.head.to_output(logits))
    posteriors: NDArray[np.float32] = torch.cat(parts, dim=1).cpu().numpy()
    return posteriors
