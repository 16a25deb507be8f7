"""Accuracy, macro-F1, a line a label and the confusion: what is told of predictions against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from otolith_training.measure.intervals import cluster_matrices


def score(truth: NDArray[np.int64], found: NDArray[np.int64], labels: Sequence[str]) -> dict[str, Any]:
    """The figures of predicted label indices; labels that neither stand in the truth nor were found are left out."""
    present = sorted(set(truth.tolist()) | set(found.tolist()))
    names = [labels[index] for index in present]
    precision, recall, f1, support = precision_recall_fscore_support(truth, found, labels=present, zero_division=0.0)
    everywhere = cluster_matrices(truth, found, np.zeros_like(truth), len(labels))[0]
    rows = zip(names, precision, recall, f1, support, strict=True)
    spoken = [index for index, label in enumerate(present) if label in set(truth.tolist())]
    return {
        "accuracy": float((truth == found).mean()),
        "macro_f1": float(np.mean(f1[spoken])),
        "per_label": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for name, p, r, f, s in rows
        },
        "confusion": {"labels": names, "matrix": everywhere[np.ix_(present, present)].tolist()},
    }
