"""The card of a model that is being made, from its recipe."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import msgspec

from otolith.inference.card import FORMAT, Anomaly, Card, Channel, DataSet, Made, Proof
from otolith_training.recipe import Mfcc, Recipe

NO_PROOF = Proof(seed=0, frames=1, scale=1.0, posteriors=[])
PACKAGES = ("otolith", "numpy", "onnx", "onnxruntime", "torch")


def make_card(
    recipe: Recipe, text: str, sets: Sequence[DataSet] = (), metrics: Mapping[str, Any] | None = None, seed: int = 0
) -> Card:
    """A card that wants nothing but its proof, which the export writes."""
    f = recipe.frontend
    sound = isinstance(f, Mfcc)
    hop, window = (f.hop_length, f.window_length) if isinstance(f, Mfcc) else (1, 1)
    return Card(
        format=FORMAT,
        name=recipe.name,
        kind=recipe.data.kind,
        sample_rate=float(f.sample_rate),
        hop_length=hop,
        window_length=window,
        channels=[Channel("mono", "full scale")] if isinstance(f, Mfcc) else f.channels,
        labels=recipe.all_labels,
        background=recipe.data.background,
        task=recipe.task,
        detector=recipe.triggers,
        latency_s=window / f.sample_rate if sound else 0.0,
        recipe=text,
        data=list(sets),
        metrics=dict(metrics or {}),
        made=Made(datetime.now(UTC).isoformat(timespec="seconds"), versions(), seed),
        proof=NO_PROOF,
        anomaly=_anomaly(recipe),
    )


def _anomaly(recipe: Recipe) -> Anomaly | msgspec.UnsetType:
    a = recipe.anomaly
    return msgspec.UNSET if a is None else Anomaly(a.lead, a.smoothing_rows, a.memory_rows, a.warm_up_rows)


def versions() -> dict[str, str]:
    """The versions of all that a model is made with, by package, and of Python."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # a source tree that was never installed
            continue
    return found
