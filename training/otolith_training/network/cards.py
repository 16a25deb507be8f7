"""The card of a model that is being made, from its recipe."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import msgspec

from otolith.inference.card import FORMAT, FULL_SCALE, Anomaly, Card, Channel, DataSet, Made, Proof, Utterance
from otolith.inference.card import Tokens as CardTokens
from otolith.inference.tokenizer import END
from otolith_training.recipe import Frontend, Mfcc, Recipe, Rows, Sound, Spectrum, Tokens, Utterances

NO_PROOF = Proof(seed=0, frames=1, scale=1.0, posteriors=[])
PACKAGES = ("otolith", "numpy", "onnx", "onnxruntime", "torch")


def make_card(
    recipe: Recipe, text: str, sets: Sequence[DataSet] = (), metrics: Mapping[str, Any] | None = None, seed: int = 0
) -> Card:
    """A card that wants nothing but its proof, which the export writes."""
    f = recipe.frontend
    hop, window = (f.hop_length, f.window_length) if isinstance(f, Sound) else (1, 1)
    looked_at = window + (f.average - 1) * hop if isinstance(f, Spectrum) else window
    return Card(
        format=FORMAT,
        name=recipe.name,
        kind=recipe.data.kind,
        sample_rate=float(f.sample_rate),
        hop_length=hop,
        window_length=window,
        channels=_channels(f),
        labels=recipe.all_labels,
        background=recipe.data.background,
        task=recipe.task,
        detector=recipe.triggers,
        latency_s=looked_at / f.sample_rate if isinstance(f, Sound) else 0.0,
        recipe=text,
        data=list(sets),
        metrics=dict(metrics or {}),
        made=Made(datetime.now(UTC).isoformat(timespec="seconds"), versions(), seed),
        proof=NO_PROOF,
        anomaly=_anomaly(recipe),
        tokens=_tokens(f),
        utterance=_utterance(recipe),
        full_scale=_full_scale(f),
    )


def _anomaly(recipe: Recipe) -> Anomaly | msgspec.UnsetType:
    a = recipe.anomaly
    return msgspec.UNSET if a is None else Anomaly(a.lead, a.smoothing_rows, a.memory_rows, a.warm_up_rows)


def _channels(frontend: Frontend) -> list[Channel]:
    match frontend:
        case Mfcc() | Spectrum():
            return [frontend.channel]
        case Tokens():
            return [Channel("token", "id")]
        case Rows():
            return frontend.channels


def _full_scale(frontend: Frontend) -> float | msgspec.UnsetType:
    """What a sample of 1 is, where samples have a unit."""
    if not isinstance(frontend, Sound) or frontend.channel.unit == FULL_SCALE:
        return msgspec.UNSET
    return frontend.full_scale


def _tokens(frontend: Frontend) -> CardTokens | msgspec.UnsetType:
    """How text is cut, of a front end that knows its vocabulary: the unknown token stands first in it."""
    if not isinstance(frontend, Tokens):
        return msgspec.UNSET
    vocabulary = frontend.vocabulary
    end = END if END in vocabulary else None
    return CardTokens(frontend.cut, frontend.lower, vocabulary, vocabulary[0], end)


def _utterance(recipe: Recipe) -> Utterance | msgspec.UnsetType:
    of = recipe.streams
    return Utterance(of.silence_s, of.silence_dbfs) if isinstance(of, Utterances) else msgspec.UNSET


def versions() -> dict[str, str]:
    """The versions of all that a model is made with, by package, and of Python."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # a source tree that was never installed
            continue
    return found
