"""Triggers from a budget: of all settings within so many false alarms an hour, those that miss least.

Either one setting for all labels, or one for each, the budget shared by a common price on alarms (a Lagrange
multiplier). Whatever is chosen on some streams does better on them than it will elsewhere, most of all where much was
free to choose and few alarms are allowed. So the choice is made on three quarters of the streams and counted on the
rest, four times over; the budget is tightened until that count keeps to it, and that count is what to expect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError
from otolith.inference.card import Card, Trigger
from otolith_training.measure.longrun import point, shares_of
from otolith_training.measure.sweep import Smoothed, find_all
from otolith_training.measure.tracks import Track, hours_of

Counts = NDArray[np.int64]

THRESHOLDS = tuple((1 / (1 + np.exp(-np.linspace(-1.4, 5.4, 35)))).round(4).tolist())  # 0.2 to 0.995, even in logits
RELEASE = 0.4  # share of the threshold
SMOOTHINGS_S = (0.04, 0.1, 0.2)
RESTS_S = (0.3, 0.8)
PRICES = np.geomspace(1e-3, 1e3, 121)  # events that one false alarm is worth
FOLDS = 4
TIGHTER = (1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05, 0.0)  # shares of the budget


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """What each trigger tried for a label does on each fold of the streams."""

    triggers: Sequence[Trigger]
    events: Counts  # (folds,)
    missed: Counts  # (triggers, folds)
    alarms: Counts  # (triggers, folds)


@dataclass(frozen=True, slots=True)
class Budget:
    """Labels that share so many false alarms an hour."""

    labels: Sequence[str]
    rate: float


Pick = Callable[[Mapping[str, Options], Counts, float], dict[str, int]]


@dataclass(frozen=True, slots=True)
class Tightened:
    """A way to pick, the share of the budget given to it, and by label what is missed and alarms where held out."""

    pick: Pick
    share: float
    counts: Mapping[str, tuple[int, int]]

    @property
    def missed(self) -> int:
        """Events missed, of all labels."""
        return sum(missed for missed, _ in self.counts.values())

    @property
    def alarms(self) -> int:
        """False alarms, of all labels."""
        return sum(false for _, false in self.counts.values())


def choose(
    tracks: Sequence[Track], card: Card, budget: float, budgets: Mapping[str, float] | None = None
) -> tuple[dict[str, Trigger], dict[str, Any]]:
    """The triggers, and figures to expect of them, from streams that they were not chosen on.

    `budget` is in false alarms an hour of all labels together but those that have one of their own in `budgets`.
    A label of which no event was heard keeps the card's trigger. Raises `OtolithError` where none was heard at all.
    """
    own = dict(budgets or {})
    folds = min(FOLDS, len(tracks))
    hours = np.array([hours_of(tracks[fold::folds], card) for fold in range(folds)])
    options = {label: try_all(tracks, card, label, folds) for label in card.detector}
    options = {label: tried for label, tried in options.items() if tried.events.sum()}
    if not options:
        raise OtolithError(
            f"{card.name}: no label to be detected was spoken in the streams; there is nothing to choose"
        )
    shared = [label for label in options if label not in own]
    groups = [
        *([Budget(shared, budget)] if shared else []),
        *(Budget([label], own[label]) for label in options if label in own),
    ]
    chosen: dict[str, int] = {}
    counts: dict[str, tuple[int, int]] = {}  # what is missed and alarms on the folds that were held out
    for group in groups:
        mine = {label: options[label] for label in group.labels}
        tried = [tighten(pick, mine, group.rate * hours) for pick in (pick_together, pick_apart)]
        best = min(tried, key=lambda of: (of.alarms > group.rate * hours.sum(), of.missed))
        counts |= best.counts
        chosen |= best.pick(mine, np.arange(folds), best.share * group.rate * float(hours.sum()))
    triggers = dict(card.detector) | {label: options[label].triggers[index] for label, index in chosen.items()}
    events = {label: int(options[label].events.sum()) for label in options}
    return triggers, _expected(tracks, card, triggers, events, counts)


def try_all(tracks: Sequence[Track], card: Card, label: str, folds: int) -> Options:
    """Every setting of a label on every fold; stream `n` lies in fold `n % folds`."""
    triggers = []
    found = []
    for smoothing_s in SMOOTHINGS_S:
        lowest = THRESHOLDS[0] * RELEASE
        parts = [Smoothed(tracks[fold::folds], card, label, smoothing_s, lowest) for fold in range(folds)]
        for threshold, rest_s in product(THRESHOLDS, RESTS_S):
            trigger = Trigger(threshold, round(RELEASE * threshold, 4), smoothing_s, rest_s)
            triggers.append(trigger)
            found.append([part.find(threshold, trigger.release, rest_s) for part in parts])
    return Options(
        triggers,
        np.array([of.events for of in found[0]]),
        np.array([[of.events - of.hits for of in row] for row in found]),
        np.array([[of.false_alarms for of in row] for row in found]),
    )


def tighten(pick: Pick, options: Mapping[str, Options], alarms: NDArray[np.float64]) -> Tightened:
    """The largest share of the budget, `alarms` a fold, at which what is held out keeps to all of it."""
    folds = np.arange(len(alarms))
    for share in TIGHTER:
        totals = {label: np.zeros(2, np.int64) for label in options}
        for fold in folds:
            rest = folds[folds != fold] if len(folds) > 1 else folds
            for label, index in pick(options, rest, share * float(alarms[rest].sum())).items():
                totals[label] += options[label].missed[index, fold], options[label].alarms[index, fold]
        tightened = Tightened(pick, share, {label: (int(m), int(a)) for label, (m, a) in totals.items()})
        if tightened.alarms <= alarms.sum():
            break
    return tightened


def pick_together(options: Mapping[str, Options], folds: Counts, alarms: float) -> dict[str, int]:
    """One setting for all labels: of no more than `alarms` on these folds, else of the fewest there are; of equal ones
    the middle one, which is farthest from both mistakes."""
    missed = np.sum([of.missed[:, folds].sum(axis=1) for of in options.values()], axis=0)
    false = np.sum([of.alarms[:, folds].sum(axis=1) for of in options.values()], axis=0)
    over = np.maximum(false - alarms, 0)
    best = np.lexsort((false, missed, over))[0]
    equal = np.flatnonzero((missed == missed[best]) & (false == false[best]) & (over == over[best]))
    return dict.fromkeys(options, int(equal[len(equal) // 2]))


def pick_apart(options: Mapping[str, Options], folds: Counts, alarms: float) -> dict[str, int]:
    """A setting for each label: of no more than `alarms` on these folds in all, else of the fewest there are."""
    missed = {label: of.missed[:, folds].sum(axis=1) for label, of in options.items()}
    false = {label: of.alarms[:, folds].sum(axis=1) for label, of in options.items()}
    for price in PRICES:
        chosen = {label: int(np.argmin(missed[label] + price * false[label])) for label in options}
        if sum(int(false[label][index]) for label, index in chosen.items()) <= alarms:
            return _spent(chosen, missed, false, alarms)
    return {label: int(np.lexsort((missed[label], false[label]))[0]) for label in options}


def _spent(
    chosen: dict[str, int], missed: Mapping[str, Counts], false: Mapping[str, Counts], alarms: float
) -> dict[str, int]:
    """What is left of the budget goes where it saves most events."""
    while True:
        left = alarms - sum(int(false[label][index]) for label, index in chosen.items())
        best, gain = None, 0
        for label, index in chosen.items():
            affordable = np.flatnonzero(false[label] <= false[label][index] + left)
            other = int(affordable[missed[label][affordable].argmin()])
            saved = int(missed[label][index] - missed[label][other])
            if saved > gain:
                best, gain = (label, other), saved
        if best is None:
            return chosen
        chosen = {**chosen, best[0]: best[1]}


def _expected(
    tracks: Sequence[Track],
    card: Card,
    triggers: Mapping[str, Trigger],
    events: Mapping[str, int],
    counts: Mapping[str, tuple[int, int]],
) -> dict[str, Any]:
    """Held-out counts as figures; delays are of the triggers as chosen, on all streams."""
    hours = hours_of(tracks, card)
    heard = point(find_all(tracks, card, triggers), triggers, hours)
    missed, false = (sum(column) for column in zip(*counts.values(), strict=True))
    total = sum(events.values())
    return {
        "hours": hours,
        "events": total,
        "false_alarms": false,
        **shares_of(total - missed, total, false, hours),
        "delay_s": heard["delay_s"],
        "per_label": {
            label: {
                "events": events[label],
                "false_alarms": counts[label][1],
                **shares_of(events[label] - counts[label][0], events[label], counts[label][1], hours),
                "delay_s": heard["per_label"][label]["delay_s"],
            }
            for label in counts
        },
    }
