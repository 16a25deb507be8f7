"""Two models on the same data, paired: what one gets right and the other does not is what tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from otolith.inference.card import Card
from otolith_training.measure.decisions import Decisions
from otolith_training.measure.intervals import accuracy_of, bootstrap, macro_f1_of, percentiles
from otolith_training.measure.longrun import missed_of
from otolith_training.measure.soak import paired_interval
from otolith_training.measure.sweep import find_all, moved
from otolith_training.measure.tracks import Track


def compare(one: Decisions, card: Card, other: Decisions, other_card: Card) -> dict[str, Any]:
    """Accuracy and macro-F1 of both on the same items, and the difference (one minus other) with its interval.

    The same speakers are drawn for both, so that a speaker who is hard for either widens nothing.
    """
    both = [d.matrices(len(c.labels)) for d, c in ((one, card), (other, other_card))]
    drawn = [bootstrap(matrices) for matrices in both]
    figures: dict[str, Any] = {}
    for name in ("accuracy", "macro_f1"):
        a, b = (_whole(matrices, name) for matrices in both)
        interval = percentiles(drawn[0][name] - drawn[1][name])
        figures[name] = {"one": a, "other": b, "difference": a - b, "difference_interval": list(interval)}
    right = [d.truth == d.found for d in (one, other)]
    figures["only_one_right"] = int((right[0] & ~right[1]).sum())
    figures["only_other_right"] = int((~right[0] & right[1]).sum())
    return figures


def compare_long(
    figures: Mapping[str, Any],
    tracks: Sequence[Track],
    card: Card,
    other_figures: Mapping[str, Any],
    other_tracks: Sequence[Track],
    other_card: Card,
) -> dict[str, Any]:
    """Events missed by both, at their cards and at each target rate, with the paired interval of the difference.

    Only labels that both detect count in the difference; a target that either cannot keep is left out. `curve` is the
    other's own.
    """
    shared = [label for label in card.detector if label in other_card.detector]
    points = []
    settings = [(None, 0.0, 0.0)]
    pairs = zip(figures["operating_points"], other_figures["operating_points"], strict=True)
    settings += [(a["target"], a["shift"], b["shift"]) for a, b in pairs if "shift" in a and "shift" in b]
    for target, shift, other_shift in settings:
        sides = ((tracks, card, shift), (other_tracks, other_card, other_shift))
        found = [find_all(t, c, {label: moved(c.detector[label], by) for label in shared}) for t, c, by in sides]
        missed = [missed_of(of) for of in found]
        events = len(missed[0])
        points.append(
            {
                "target": target,
                "events": events,
                "one": float(missed[0].mean()) if events else None,
                "other": float(missed[1].mean()) if events else None,
                "difference": float(missed[0].mean() - missed[1].mean()) if events else None,
                "difference_interval": list(paired_interval(*missed)) if events else None,
                "false_alarms": [sum(of.false_alarms for of in side.values()) for side in found],
            }
        )
    return {"labels": shared, "points": points, "curve": other_figures["curve"]}


def _whole(matrices: np.ndarray[Any, np.dtype[np.int64]], name: str) -> float:
    total = matrices.sum(axis=0)
    return float(accuracy_of(total) if name == "accuracy" else macro_f1_of(total, total.sum(axis=1) > 0))
