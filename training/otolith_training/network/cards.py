"""The card of a model that is being made, from its recipe."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from msgspec import UNSET

from otolith.inference.card import FORMAT, FULL_SCALE, Card, DataSet, Made, Proof
from otolith_training.recipe import Recipe, Rows, Spectrum

NO_PROOF = Proof(seed=0, frames=1, scale=1.0, posteriors=[])
PACKAGES = ("otolith", "numpy", "onnx", "onnxruntime", "torch")


def make_card(
    recipe: Recipe, text: str, sets: Sequence[DataSet] = (), metrics: Mapping[str, Any] | None = None, seed: int = 0
) -> Card:
    """A card that wants nothing but its proof, which the export writes."""
    f = recipe.frontend
    hop, window = (1, 1) if isinstance(f, Rows) else (f.hop_length, f.window_length)
    looked_at = window + (f.average - 1) * hop if isinstance(f, Spectrum) else window
    return Card(
        format=FORMAT,
        name=recipe.name,
        kind=recipe.data.kind,
        sample_rate=float(f.sample_rate),
        hop_length=hop,
        window_length=window,
        channels=f.channels if isinstance(f, Rows) else [f.channel],
        labels=recipe.all_labels,
        background=recipe.data.background,
        task=recipe.task,
        detector=recipe.triggers,
        latency_s=0.0 if isinstance(f, Rows) else looked_at / f.sample_rate,
        recipe=text,
        data=list(sets),
        metrics=dict(metrics or {}),
        made=Made(datetime.now(UTC).isoformat(timespec="seconds"), versions(), seed),
        proof=NO_PROOF,
        full_scale=UNSET if isinstance(f, Rows) or f.channel.unit == FULL_SCALE else f.full_scale,
    )


def versions() -> dict[str, str]:
    """The versions of all that a model is made with, by package, and of Python."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # a source tree that was never installed
            continue
    return found
