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
    heard = {}
    for number, (name, (series, path)) in enumerate(corpus.items()):
        heard[name] = hear(learn(path, recipe_for(recipe, path, series), out / name), path)
        if advance is not None:
            advance(number + 1, len(corpus))
    series = {name: of for name, (of, _) in corpus.items()}
    threshold, whole = optimise(series, lambda at: {name: starts(of, at) for name, of in heard.items()}, THRESHOLDS)
    detections = {name: live_starts(of, threshold) for name, of in heard.items()}
    return {"threshold": threshold, **_told(whole), **_parts(series, heard, detections)}


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
    for name, value in values.items():
        text = re.sub(rf"^{name} = .*$", lambda _, n=name, v=value: f"{n} = {v}", text, count=1, flags=re.MULTILINE)
    return text


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
    return [found.position - 1 for found in detector.push(heard.scores[:, None], 0) if found.phase == "start"]


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


def _parts(
    series: Mapping[str, Series], heard: Mapping[str, Heard], detections: Mapping[str, list[int]]
) -> dict[str, Any]:
    """By folder at the corpus' threshold; and of each half at the threshold that is best for the other one."""
    folders = sorted({name.split("/")[0] for name in series})
    by_folder = {}
    for folder in folders:
        own = {name: of for name, of in series.items() if name.startswith(f"{folder}/")}
        rows = {name: detections[name] for name in own}
        by_folder[folder] = (
            _told(score(own, rows))
            if any(of.windows for of in own.values())
            else {"false_positives": sum(row >= of.probation for name, of in own.items() for row in rows[name])}
        )
    halves = [dict(list(series.items())[part::2]) for part in (0, 1)]
    crossed = []
    for own, other in (halves, halves[::-1]):
        threshold, _ = optimise(other, lambda at, other=other: {n: starts(heard[n], at) for n in other}, THRESHOLDS)
        found = score(own, {name: starts(heard[name], threshold) for name in own})
        crossed.append({"threshold": threshold, **_told(found)})
    return {"by_folder": by_folder, "halves": crossed}


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
