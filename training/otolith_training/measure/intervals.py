"""95 % intervals: what a figure could have been with other speakers, other hours, other luck.

Accuracy and macro-F1 by the percentile bootstrap over clusters (Efron and Tibshirani, 1993): what one speaker says
stands or falls together, so speakers are drawn, not clips. Shares by Clopper and Pearson (1934), rates by
Garwood (1936): both exact, and both right at nought.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, chi2  # type: ignore[import-untyped]

Interval = tuple[float, float]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

CONFIDENCE = 0.95
DRAWS = 2000
SEED = 1
DRAWS_AT_ONCE = 250  # weighted confusion matrices of all draws at once could fill a memory


def number_groups(keys: Sequence[Hashable]) -> Counts:
    """Each key's group, numbered from 0 in order of first appearance."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def cluster_matrices(truth: Counts, found: Counts, clusters: Counts, labels: int) -> Counts:
    """A confusion matrix a cluster `(clusters, labels, labels)`, truth by rows; `clusters` numbers them from 0."""
    count = int(clusters.max()) + 1 if len(clusters) else 0
    cell = (clusters * labels + truth) * labels + found
    return np.bincount(cell, minlength=count * labels * labels).reshape(count, labels, labels)


def bootstrap(matrices: Counts, draws: int = DRAWS, seed: int = SEED) -> dict[str, Floats]:
    """Accuracy and macro-F1 `(draws,)` of as many clusters drawn with replacement.

    The same seed and number of clusters draw the same clusters, so two models on the same data can be paired.
    """
    count, labels, _ = matrices.shape
    random = np.random.default_rng(seed)
    flat = matrices.reshape(count, -1).astype(np.float64)
    spoken = matrices.sum(axis=(0, 2)) > 0
    accuracy, macro_f1 = [], []
    for first in range(0, draws, DRAWS_AT_ONCE):
        weights = random.multinomial(count, np.full(count, 1 / count), size=min(DRAWS_AT_ONCE, draws - first))
        drawn = (weights @ flat).reshape(-1, labels, labels)
        accuracy.append(accuracy_of(drawn))
        macro_f1.append(macro_f1_of(drawn, spoken))
    return {"accuracy": np.concatenate(accuracy), "macro_f1": np.concatenate(macro_f1)}


def accuracy_of(matrices: NDArray[np.number]) -> Floats:
    """Accuracy `(...)` of confusion matrices `(..., labels, labels)`."""
    right = np.trace(matrices, axis1=-2, axis2=-1)
    return np.asarray(right / np.maximum(matrices.sum(axis=(-2, -1)), 1), np.float64)


def macro_f1_of(matrices: NDArray[np.number], spoken: NDArray[np.bool_]) -> Floats:
    """Mean F1 `(...)` over the labels that are `spoken`; one that neither stands in a draw nor is found is left out."""
    right = np.diagonal(matrices, axis1=-2, axis2=-1)
    involved = matrices.sum(axis=-1) + matrices.sum(axis=-2)  # (..., labels)
    counted = spoken & (involved > 0)
    f1 = np.where(counted, 2 * right / np.maximum(involved, 1), 0.0)
    return np.asarray(f1.sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1), np.float64)


def percentiles(values: Floats) -> Interval:
    """The middle 95 % of bootstrapped values."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def share_interval(hits: int, of: int) -> Interval:
    """The interval of a share, exact; all of 0..1 where nothing was counted."""
    if of == 0:
        return 0.0, 1.0
    interval = binomtest(hits, of).proportion_ci(CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)


def rate_interval(count: int, hours: float) -> Interval:
    """The interval of a rate an hour, from `count` in `hours`, exact; up to infinity from no hours."""
    if hours <= 0:
        return 0.0, math.inf
    tail = (1 - CONFIDENCE) / 2
    low = float(chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    return low / hours, float(chi2.ppf(1 - tail, 2 * count + 2)) / 2 / hours


def rate_bound(count: int, hours: float) -> float:
    """The rate an hour that the true one is under, 95 % sure: three in so many hours where none was counted."""
    return float(chi2.ppf(CONFIDENCE, 2 * count + 2)) / 2 / hours if hours > 0 else math.inf


def hours_for(rate: float) -> float:
    """Hours without one alarm that would show a rate to be lower than this, 95 % sure."""
    return rate_bound(0, 1.0) / rate
