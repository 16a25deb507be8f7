"""Long recordings: how many events are missed for how many false alarms an hour, how soon, and how sure that is.

All thresholds are moved together from the card's own, in logits, so that the curve passes through the model as it
ships. An alarm counts wherever it happens, so rates are of all hours heard; the hours without events stand beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError
from otolith.inference.card import Card, Trigger
from otolith.inference.model import Model
from otolith_training.measure.intervals import hours_for, rate_bound, rate_interval, share_interval
from otolith_training.measure.sweep import Found, find_all, moved, shifts, sweep
from otolith_training.measure.tracks import (
    Advance,
    Recording,
    Track,
    find_recordings,
    hear_all,
    hours_of,
    negative_hours_of,
)

TARGETS = (0.1, 0.5, 1.0, 3.0, 12.0)  # false alarms an hour


def listen_long(
    model: Model, data: Path, split: str | None = None, advance: Advance | None = None
) -> tuple[dict[str, Any], list[Recording], list[Track]]:
    """Figures of a model over a folder with `events.csv`, ready for JSON, and what was heard. Raises `OtolithError`."""
    require_triggers(model.card)
    recordings = find_recordings(data, model.card, split)
    tracks = hear_all(model, recordings, advance)
    return {"recordings": len(tracks), **figures_of(tracks, model.card, model.card.detector)}, recordings, tracks


def require_triggers(card: Card) -> None:
    """Raise `OtolithError` where a model detects nothing."""
    if not card.detector:
        raise OtolithError(f"{card.name}: its card has no trigger for any label, so it detects nothing in a stream")


def figures_of(tracks: Sequence[Track], card: Card, triggers: Mapping[str, Trigger]) -> dict[str, Any]:
    """Figures of tracks: at the triggers as they are, at each target rate, and the curve between."""
    hours = hours_of(tracks, card)
    swept = sweep(tracks, card, triggers)
    totals = np.array([_totals([found[i] for found in swept.values()]) for i in range(len(shifts(triggers)))])
    return {
        "hours": hours,
        "negative_hours": negative_hours_of(tracks, card, triggers),
        "events": int(totals[0, 1]),
        "at_card": point(find_all(tracks, card, triggers), triggers, hours),
        "operating_points": [_at_target(target, swept, triggers, totals, hours) for target in TARGETS],
        "curve": [
            {"shift": float(shift), **shares_of(hits, events, alarms, hours)}
            for shift, (hits, events, alarms) in zip(shifts(triggers), totals.tolist(), strict=True)
        ],
    }


def point(found: Mapping[str, Found], triggers: Mapping[str, Trigger], hours: float) -> dict[str, Any]:
    """Figures at one setting of the triggers, of all labels and label by label."""
    return {
        "thresholds": {label: triggers[label].threshold for label in found},
        **_counts(list(found.values()), hours),
        "per_label": {label: _counts([of], hours) for label, of in found.items()},
    }


def missed_of(found: Mapping[str, Found]) -> NDArray[np.bool_]:
    """Whether each event was missed, label by label."""
    return np.concatenate([np.isnan(of.late_s) for of in found.values()])


def best_within(totals: NDArray[np.int64], rate: float, hours: float) -> int | None:
    """Which row of (hits, events, false alarms) hits most at no more than `rate` an hour; the strictest of those that
    are equal. None where no row keeps below."""
    within = totals[:, 2] <= rate * hours * (1 + 1e-9)
    if not within.any():
        return None
    most = totals[within, 0].max()
    return int(np.flatnonzero(within & (totals[:, 0] >= most))[-1])


def _at_target(
    target: float,
    swept: Mapping[str, Sequence[Found]],
    triggers: Mapping[str, Trigger],
    totals: NDArray[np.int64],
    hours: float,
) -> dict[str, Any]:
    supported = hours >= hours_for(target)
    told: dict[str, Any] = {"target": target, "supported": supported}
    index = best_within(totals, target, hours)
    if index is None:
        note = "no threshold of the sweep alarms as seldom"
        return {**told, "note": note}
    shift = float(shifts(triggers)[index])
    at = {label: moved(trigger, shift) for label, trigger in triggers.items()}
    figures = point({label: found[index] for label, found in swept.items()}, at, hours)
    if not supported:
        count = figures["false_alarms"]
        bound = rate_bound(count, hours)
        told["note"] = (
            f"{count} in {hours:.2f} h only bounds the rate under {bound:.{2 if bound < 100 else 3}g} an hour (95 %); "
            f"{target:g} an hour needs {hours_for(target):.1f} h without one"
        )
    return {**told, "shift": shift, **figures}


def _totals(found: Sequence[Found]) -> tuple[int, int, int]:
    """Hits, events and false alarms."""
    return sum(of.hits for of in found), sum(of.events for of in found), sum(of.false_alarms for of in found)


def _counts(found: Sequence[Found], hours: float) -> dict[str, Any]:
    hits, events, alarms = _totals(found)
    late_s = np.concatenate([of.late_s[np.isfinite(of.late_s)] for of in found])
    return {
        "events": events,
        "hits": hits,
        "false_alarms": alarms,
        **shares_of(hits, events, alarms, hours),
        "delay_s": {"median": float(np.median(late_s)), "p95": float(np.quantile(late_s, 0.95))} if hits else None,
    }


def shares_of(hits: int, events: int, alarms: int, hours: float) -> dict[str, Any]:
    """The share missed and the rate of alarms, with intervals; no share where there was no event."""
    return {
        "missed": 1 - hits / events if events else None,
        "missed_interval": list(share_interval(events - hits, events)) if events else None,
        "false_alarms_per_hour": alarms / hours,
        "false_alarms_per_hour_interval": list(rate_interval(alarms, hours)),
    }
