"""Calibration: a model's thresholds for one room, from hours of its sound in which none of the labels occurs.

Whatever is detected there is a false alarm. Of the labels, the one that alarms most has its threshold raised first, to
where it alarms at least once less, until the budget holds. Thresholds are never lowered: sound without the words cannot
tell what would be gained by it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from otolith.errors import OtolithError, UsageError
from otolith.inference.card import Card, Trigger
from otolith.inference.model import Model
from otolith.trial import open_model
from otolith_training.measure.intervals import hours_for, rate_bound, rate_interval
from otolith_training.measure.longrun import point, require_triggers
from otolith_training.measure.sweep import Smoothed, find_all
from otolith_training.measure.tracks import Advance, Recording, Track, hear_all, hours_of

STEPS = 400  # thresholds tried between the card's and one


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Figures ready for JSON, and lines that the daemon's settings take, below what can be said of them."""

    figures: dict[str, Any]
    text: str


def calibrate_file(
    path: Path, recordings: Sequence[Path], budget: float, out: Path | None = None, advance: Advance | None = None
) -> Calibrated:
    """Calibrate the model file at `path` as `otolith calibrate` does, and write settings to `out` if given.

    Raises `OtolithError`.
    """
    if out is not None and out.exists():
        raise UsageError(f"{out}: stands there already; name a new file, or copy the printed lines into it")
    model = open_model(path)
    triggers, figures = calibrate(model, recordings, budget, advance)
    said = "".join(f"# {line}\n" for line in in_words(figures).splitlines())
    lines = settings_lines(triggers)
    if out is not None:
        write_settings(out, path, model.card, f"{said}\n", lines)
    return Calibrated({**figures, "triggers": msgspec.to_builtins(triggers)}, f"{said}\n{lines}".rstrip())


def calibrate(
    model: Model, paths: Sequence[Path], budget: float, advance: Advance | None = None
) -> tuple[dict[str, Trigger], dict[str, Any]]:
    """Triggers that keep to `budget` false alarms an hour on these recordings, and the figures, ready for JSON.

    Raises `OtolithError`.
    """
    card = model.card
    require_tagging(card)
    require_triggers(card)
    tracks = hear_all(model, [Recording(str(path), path, ()) for path in paths], advance)
    hours = hours_of(tracks, card)
    alarms = Alarms(tracks, card)
    triggers = alarms.raised(budget * hours)
    halves = [alarms.raised(budget * hours / 2, half) for half in (0, 1)]
    held_out = sum(alarms.count_all(halves[half], 1 - half) for half in (0, 1))
    return triggers, {
        "model": model.identity,
        "recordings": len(tracks),
        "hours": hours,
        "budget": budget,
        "at_card": point(find_all(tracks, card, card.detector), card.detector, hours),
        "calibrated": point(find_all(tracks, card, triggers), triggers, hours),
        "held_out": {
            "false_alarms": held_out,
            "false_alarms_per_hour": held_out / hours,
            "false_alarms_per_hour_interval": list(rate_interval(held_out, hours)),
        },
        "sure_under": rate_bound(held_out, hours),
        "supported": rate_bound(held_out, hours) <= budget,
        "hours_needed": hours_for(budget),
    }


def require_tagging(card: Card) -> None:
    """Raise `OtolithError` of a model that has no labels with thresholds to raise, saying where its own figures are."""
    instead = {
        "forecast": "what it calls an anomaly is settable in the daemon's settings: detector.anomaly",
        "classify": "it tells the likeliest label of a whole, and has no threshold",
    }
    if card.task in instead:
        raise OtolithError(
            f"{card.name}: otolith calibrate is for models that tag, and this is of task {card.task}; "
            f"{instead[card.task]}"
        )


class Alarms:
    """Detections on tracks that hold none of the labels, counted at any threshold, in all minutes or every other."""

    def __init__(self, tracks: Sequence[Track], card: Card) -> None:
        self._card = card
        self._minute = round(60 * card.sample_rate)
        self._begins = np.cumsum([0, *(track.length for track in tracks)])[:-1].tolist()
        self._smoothed = {
            label: Smoothed(tracks, card, label, trigger.smoothing_s, trigger.release)
            for label, trigger in card.detector.items()
        }

    def count(self, label: str, trigger: Trigger, half: int | None = None) -> int:
        """Detections of a label, of all or in the minutes of one half (0 or 1)."""
        starts = self._smoothed[label].starts(trigger)
        at = np.concatenate([positions + begin for positions, begin in zip(starts, self._begins, strict=True)])
        return len(at) if half is None else int((at // self._minute % 2 == half).sum())

    def count_all(self, triggers: Mapping[str, Trigger], half: int | None = None) -> int:
        """Detections of all labels."""
        return sum(self.count(label, trigger, half) for label, trigger in triggers.items())

    def raised(self, alarms: float, half: int | None = None) -> dict[str, Trigger]:
        """The card's triggers, raised until there are no more than `alarms` in all. Raises `OtolithError`."""
        triggers = dict(self._card.detector)
        counts = {label: self.count(label, trigger, half) for label, trigger in triggers.items()}
        while sum(counts.values()) > alarms:
            label = max(counts, key=lambda name: counts[name])
            triggers[label] = self._stricter(label, triggers[label], counts[label], half)
            counts[label] = self.count(label, triggers[label], half)
        return triggers

    def _stricter(self, label: str, trigger: Trigger, count: int, half: int | None) -> Trigger:
        """The lowest of the thresholds tried with fewer detections than `count`; release keeps its share."""
        base = self._card.detector[label]
        for step in range(1, STEPS + 1):
            threshold = round(base.threshold + (1 - base.threshold) * step / STEPS, 4)
            release = round(base.release * threshold / base.threshold, 4)
            raised = Trigger(threshold, release, base.smoothing_s, base.refractory_s)
            if threshold > trigger.threshold and self.count(label, raised, half) < count:
                return raised
        raise OtolithError(
            f"{label!r} alarms here even at a threshold of 1; does this sound hold the word itself? "
            "If it does not, retrain the model with it"
        )


def settings_lines(triggers: Mapping[str, Trigger]) -> str:
    """The triggers as the daemon's settings take them, below a `[[stream]]`."""
    tables = []
    for label, trigger in triggers.items():
        figures = msgspec.structs.asdict(trigger)
        lines = [f"[stream.detector.{_key(label)}]", *(f"{name} = {value!r}" for name, value in figures.items())]
        tables.append("\n".join(lines))
    return "\n\n".join(tables) + "\n"


def write_settings(path: Path, model_path: Path, card: Card, comment: str, lines: str) -> None:
    """A settings file with one stream of the model, which detects as `lines` say. Raises `OtolithError`."""
    model = os.path.relpath(model_path.resolve(), path.resolve().parent)
    source = "microphone:" if card.kind == "audio" else "pipe:"
    stream = f'[[stream]]\nname = "calibrated"\nmodel = {_text(model)}\nsource = "{source}"\n'
    try:
        path.write_text(f"{comment}{stream}\n{lines}", encoding="utf-8")
    except OSError as error:
        raise OtolithError(f"{path}: cannot be written ({error.strerror}); name another file with --out") from None


def in_words(figures: Mapping[str, Any]) -> str:
    """What was heard, what to expect, and how sure one can be of it."""
    at_card, after, held_out = figures["at_card"], figures["calibrated"], figures["held_out"]
    lines = [
        f"{figures['hours']:.2f} h of sound: {at_card['false_alarms']} false alarms with the card's thresholds, "
        f"{after['false_alarms']} with these",
        f"to expect: {held_out['false_alarms_per_hour']:.2g} an hour, and 95 % sure: fewer than "
        f"{figures['sure_under']:.2g}, in sound like this",
        "(thresholds fitted to one half of the minutes were counted on the other)",
    ]
    if figures["hours"] < figures["hours_needed"]:
        lines.append(
            f"so many hours cannot show that {figures['budget']:g} an hour is kept: "
            f"that takes {figures['hours_needed']:.1f} h without one"
        )
    elif not figures["supported"]:
        lines.append(f"so it is not shown that {figures['budget']:g} an hour is kept: calibrate on more of this room")
    return "\n".join(lines)


def _key(label: str) -> str:
    return label if re.fullmatch(r"[A-Za-z0-9_-]+", label) else _text(label)


def _text(value: str) -> str:
    """A TOML string, which is JSON's but for the escapes of what lies beyond 16 bits."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
