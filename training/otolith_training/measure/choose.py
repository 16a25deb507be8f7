"""Triggers from a budget: of all settings within so many false alarms an hour, those that miss least.

Each label's settings are tried on its own; the budget for all labels is shared by a common price on alarms (a Lagrange
multiplier): the lowest price at which what the labels then prefer costs no more than the budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from otolith.errors import OtolithError
from otolith.inference.card import Card, Trigger
from otolith_training.measure.longrun import point
from otolith_training.measure.sweep import Found, Smoothed, find_all
from otolith_training.measure.tracks import Track, hours_of

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.84, 0.88, 0.91, 0.94, 0.96, 0.98, 0.99, 0.995)
RELEASES = (0.4, 0.7)  # shares of the threshold
SMOOTHINGS_S = (0.04, 0.08, 0.12, 0.2, 0.3)
RESTS_S = (0.3, 0.8)
PRICES = np.geomspace(1e-3, 1e3, 121)  # events that one false alarm is worth


@dataclass(frozen=True, slots=True)
class Option:
    """A trigger, and what it did on the tracks."""

    trigger: Trigger
    missed: int
    alarms: int
    late_s: float  # median; settles what is otherwise equal


def choose(
    tracks: Sequence[Track], card: Card, budget: float, budgets: Mapping[str, float] | None = None
) -> tuple[dict[str, Trigger], dict[str, Any]]:
    """The triggers, and the figures to expect of them (`longrun.point`, with the hours they rest on).

    `budget` is in false alarms an hour of all labels together but those that have one of their own in `budgets`.
    Labels of which no event was heard keep the card's trigger. Raises `OtolithError` where no event was heard at all.
    """
    hours = hours_of(tracks, card)
    own = dict(budgets or {})
    options = {label: _options(tracks, card, label) for label in card.detector}
    options = {label: tried for label, tried in options.items() if tried}
    if not options:
        raise OtolithError(f"{card.name}: no label to be detected was spoken in the tracks; there is nothing to choose")
    shared = {label: tried for label, tried in options.items() if label not in own}
    chosen = _within(shared, budget * hours)
    for label in options.keys() & own.keys():
        chosen |= _within({label: options[label]}, own[label] * hours)
    triggers = {label: chosen[label].trigger if label in chosen else of for label, of in card.detector.items()}
    return triggers, {"hours": hours, **point(find_all(tracks, card, triggers), triggers, hours)}


def _options(tracks: Sequence[Track], card: Card, label: str) -> list[Option]:
    """What each setting does for a label; empty where it has no event."""
    options = []
    for smoothing_s in SMOOTHINGS_S:
        smoothed = Smoothed(tracks, card, label, smoothing_s, THRESHOLDS[0] * RELEASES[0])
        for threshold, share, rest_s in product(THRESHOLDS, RELEASES, RESTS_S):
            trigger = Trigger(threshold, round(share * threshold, 4), smoothing_s, rest_s)
            found = smoothed.find(trigger.threshold, trigger.release, trigger.refractory_s)
            if not found.events:
                return []
            options.append(_option(trigger, found))
    return options


def _option(trigger: Trigger, found: Found) -> Option:
    late_s = float(np.nanmedian(found.late_s)) if found.hits else np.inf
    return Option(trigger, found.events - found.hits, found.false_alarms, late_s)


def _within(options: Mapping[str, Sequence[Option]], alarms: float) -> dict[str, Option]:
    """An option a label, of no more than `alarms` in all where that can be had, else of the fewest there are."""
    for price in PRICES.tolist():
        chosen = {label: _cheapest(tried, price) for label, tried in options.items()}
        if sum(option.alarms for option in chosen.values()) <= alarms:
            return _improved(chosen, options, alarms)
    return {label: min(tried, key=lambda o: (o.alarms, o.missed, o.late_s)) for label, tried in options.items()}


def _cheapest(options: Sequence[Option], price: float) -> Option:
    return min(options, key=lambda o: (o.missed + price * o.alarms, o.late_s, -o.trigger.threshold))


def _improved(chosen: dict[str, Option], options: Mapping[str, Sequence[Option]], alarms: float) -> dict[str, Option]:
    """What is left of the budget is spent where it saves most events."""
    while True:
        left = alarms - sum(option.alarms for option in chosen.values())
        better = [
            (chosen[label].missed - option.missed, chosen[label].alarms - option.alarms, label, option)
            for label, tried in options.items()
            for option in tried
            if option.missed < chosen[label].missed and option.alarms - chosen[label].alarms <= left
        ]
        if not better:
            return chosen
        *_, label, option = max(better, key=lambda found: found[:2])
        chosen = {**chosen, label: option}
