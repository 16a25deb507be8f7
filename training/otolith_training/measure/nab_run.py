"""The Numenta Anomaly Benchmark, run: each series is learned from its first part, then passes the daemon's own stream.

One recipe serves all series; what is put in its place is each one's path, rate and rows. One threshold serves all, the
best for the corpus, as the benchmark has it; the anomalies' starts at it are the detections.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from otolith.errors import OtolithError
from otolith.inference.card import ANOMALY, Trigger
from otolith.inference.detector import Detector
from otolith.inference.events import Anomaly, Forecasts
from otolith.inference.model import Model
from otolith.inference.stream import MAX_FRAMES_PER_STEP, Stream
from otolith.recordings import read_sensor
from otolith_training.measure.nab import Score, Series, optimise, read_corpus, score
from otolith_training.train import train

Floats = NDArray[np.float32]

CHANNEL = "value"
HELD_OUT = 0.25  # of the probation, to choose an epoch on where the recipe has any
THRESHOLDS = np.round(np.arange(0.2, 1.001, 0.02), 2).tolist()


@dataclass(frozen=True, slots=True)
class Heard:
    """A series as its model heard it."""

    model: Model
    values: Floats  # (rows, 1)
    scores: Floats  # (rows,)


def run_corpus(
    folder: Path, recipe: str, out: Path, advance: Callable[[int, int], object] | None = None
) -> dict[str, Any]:
    """The figures of `recipe` (its text) over the corpus in `folder`; models go to `out`. Raises `OtolithError`."""
    corpus = read_corpus(folder)
    series = {name: of for name, (of, _) in corpus.items()}
    heard: dict[str, Heard] = {}
    for name, (of, path) in corpus.items():
        heard[name] = hear(learn(path, recipe_for(recipe, path, of), out / name), path)
        if advance is not None:
            advance(len(heard), len(corpus))
    threshold, whole = _best(series, heard)
    detections = {name: live_starts(of, threshold) for name, of in heard.items()}
    if detections != {name: starts(of, threshold) for name, of in heard.items()}:
        raise OtolithError("a live stream tells other anomalies than its scores, which no benchmark may hide")
    by_folder, halves = _by_folder(series, detections), _crossed(series, heard)
    return {"threshold": threshold, **_told(whole), "by_folder": by_folder, "halves": halves}


def recipe_for(text: str, path: Path, series: Series) -> str:
    """The recipe's text for one series: learned from its probation, at its own rate."""
    rate = read_sensor(path).rate
    learned = series.probation
    rows = f"train = [0, {learned}]"
    if not re.search(r"^epochs = 0\b", text, re.MULTILINE):
        first = round((1 - HELD_OUT) * learned)
        rows = f"train = [0, {first}], dev = [{first}, {learned}]"
    rest_rows = _figure(text, "refractory_s") * _figure(text, "sample_rate")
    values = {
        "path": f'"{path.name}"',
        "rows": f"{{ {rows} }}",
        "sample_rate": repr(rate),
        "refractory_s": repr(rest_rows / rate),
    }
    lines = text.splitlines()
    for name, value in values.items():
        at = next((number for number, line in enumerate(lines) if line.startswith(f"{name} = ")), None)
        if at is not None:
            lines[at] = f"{name} = {value}"
    return "\n".join(lines) + "\n"


def learn(path: Path, recipe: str, out: Path) -> Model:
    """The model of one series."""
    out.parent.mkdir(parents=True, exist_ok=True)
    recipe_path = out.with_suffix(".toml")
    recipe_path.write_text(recipe, encoding="utf-8")
    return train(recipe_path, path.parent, out.with_suffix(".onnx"), None, Console(file=io.StringIO()))


def hear(model: Model, path: Path) -> Heard:
    """All of a series, from its first row on, each row once."""
    values = read_sensor(path).select([CHANNEL])
    events = _pass(Stream(model), values)
    scores = [event.scores for event in events if isinstance(event, Forecasts) and event.scores is not None]
    return Heard(model, values, np.concatenate(scores))


def starts(heard: Heard, threshold: float) -> list[int]:
    """Rows at which an anomaly starts, by the detector on the scores as they were."""
    detector = Detector(heard.model.card, {ANOMALY: trigger_at(heard.model, threshold)})
    found = detector.decide(heard.scores[:, None], 0)  # nothing smooths a score: the errors behind it are smoothed
    return [start.position - 1 for start in found if start.phase == "start"]


def live_starts(heard: Heard, threshold: float) -> list[int]:
    """The same as a live stream tells, which hears the series once more."""
    events = _pass(Stream(heard.model, {ANOMALY: trigger_at(heard.model, threshold)}), heard.values)
    return [event.position - 1 for event in events if isinstance(event, Anomaly) and event.phase == "start"]


def trigger_at(model: Model, threshold: float) -> Trigger:
    """The card's trigger at another threshold, its release moved along."""
    own = model.card.detector[ANOMALY]
    return Trigger(threshold, threshold * own.release / own.threshold, own.smoothing_s, own.refractory_s)


def _pass(stream: Stream, values: Floats) -> Sequence[object]:
    events: list[object] = []
    for start in range(0, len(values), MAX_FRAMES_PER_STEP):
        events += stream.push(values[start : start + MAX_FRAMES_PER_STEP])
    return events


def _best(series: Mapping[str, Series], heard: Mapping[str, Heard]) -> tuple[float, Score]:
    return optimise(series, lambda at: {name: starts(heard[name], at) for name in series}, THRESHOLDS)


def _by_folder(series: Mapping[str, Series], detections: Mapping[str, list[int]]) -> dict[str, Any]:
    """Each folder's share at the corpus' threshold; of one without anomalies only what was wrongly detected."""
    told: dict[str, Any] = {}
    for folder in sorted({name.split("/")[0] for name in series}):
        own = {name: of for name, of in series.items() if name.startswith(f"{folder}/")}
        if any(of.windows for of in own.values()):
            told[folder] = _told(score(own, detections))
        else:
            wrong = sum(row >= of.probation for name, of in own.items() for row in detections[name])
            told[folder] = {"false_positives": wrong}
    return told


def _crossed(series: Mapping[str, Series], heard: Mapping[str, Heard]) -> list[dict[str, Any]]:
    """Each half of the series at the threshold that is best for the other half: what choosing it on all is worth."""
    halves = [dict(list(series.items())[part::2]) for part in (0, 1)]
    told = []
    for own, other in (halves, halves[::-1]):
        if all(any(of.windows for of in half.values()) for half in halves):
            threshold, _ = _best(other, heard)
            found = score(own, {name: starts(heard[name], threshold) for name in own})
            told.append({"threshold": threshold, **_told(found)})
    return told


def _told(of: Score) -> dict[str, Any]:
    return {
        "score": of.score,
        "windows": of.windows,
        "found": of.found,
        "false_positives": of.false_positives,
    }


def _figure(text: str, name: str) -> float:
    found = re.search(rf"^{name} = (\S+)", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
