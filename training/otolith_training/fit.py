"""The fit: epoch by epoch a network learns and is measured; the best is kept, and a checkpoint to go on from."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from otolith.errors import OtolithError
from otolith.inference.card import DataSet
from otolith_training.course import Course, make_course
from otolith_training.data.composer import Chunk
from otolith_training.data.datasets import AnyItem, Run
from otolith_training.data.material import Items
from otolith_training.data.prefetch import prefetched
from otolith_training.learner import Learner, NotFiniteError, Step, pick_device
from otolith_training.logbook import Identity, Logbook, Record
from otolith_training.measure.rehearse import Metrics
from otolith_training.network.frontend import Frontend, fit_scaling
from otolith_training.network.network import Network, make_network
from otolith_training.recipe import Recipe, Rows

SCALING_CHUNKS = 4  # chunks that the scaling is taken from

Start = Callable[[Network], Network]


@dataclass(slots=True)
class Fitted:
    """A network with its best weights, and how it came to them."""

    network: Network
    epoch: int  # the best one, from 1; 0 where none was finished
    metrics: Metrics
    sets: list[DataSet]
    interrupted: bool
    history: list[Record] = field(default_factory=list)  # one an epoch


def fit(
    recipe: Recipe,
    text: str,
    items: Items,
    data: Path,
    runs: Path,
    console: Console,
    start: Start | None = None,
    resume: bool = False,
    course: Course | None = None,
) -> Fitted:
    """Train on `items` as the recipe asks, with a logbook in `runs`. Ctrl-C ends it early with the best so far.

    `start` makes the weights to begin from, given a fresh network that has its scaling; without it those are drawn.
    `resume` goes on from the last checkpoint in `runs`, to the very weights of a training that was never stopped.
    `course` is what `make_course` makes of the recipe's data, for whoever trains on it more than once.
    Raises `OtolithError`.
    """
    torch.manual_seed(recipe.training.seed)
    device = pick_device()
    started = time.monotonic()
    if course is None:
        console.print(f"reading {data / recipe.data.path}")
        course = make_course(recipe, text, items, data)
    network = make_network(recipe).to(device)
    parameters = sum(p.numel() for p in network.parameters())
    console.print(f"{recipe.name}: {len(recipe.all_labels)} labels, {parameters:,} parameters, on {device}")
    logbook = _find_logbook(runs, identify(recipe, items, course.sets), resume, console)
    kept = logbook.load()
    if kept is None:
        network = _begin(network, recipe, course, start).to(device)
    learner = Learner(network, recipe)
    fitted = Fitted(copy.deepcopy(network), 0, {}, course.sets, interrupted=False)
    if kept is not None:
        _go_on(learner, fitted, kept)
    elif recipe.forecast is not None:  # what was fitted in closed form is to be beaten
        fitted.metrics = course.rehearsal(network)
        console.print(f"before any step: {_told(fitted.metrics) or 'nothing is held out to measure on'}")
    setting = {"seed": recipe.training.seed, "data": {s.name: s.fingerprint for s in course.sets}}
    with closing(logbook):
        for difference in logbook.open(text, setting, fitted.history):
            console.print(f"{difference}: so its weights may part from those of a training that never stopped")
        _learn(learner, fitted, recipe, course, logbook, console)
    state = "interrupted" if fitted.interrupted else "trained"
    minutes = (time.monotonic() - started) / 60
    console.print(f"{state} after {minutes:.1f} minutes; epoch {fitted.epoch} is kept: {_told(fitted.metrics)}")
    return fitted


def identify(recipe: Recipe, items: Items, sets: list[DataSet]) -> Identity:
    """What makes a training this one and no other, to tell whether a checkpoint is of it."""
    unseeded = msgspec.structs.replace(recipe, training=msgspec.structs.replace(recipe.training, seed=0))
    listed = sorted(((item.name, item.split, item.group, _labels(item)) for item in items), key=str)
    return {
        "recipe": _digest(msgspec.json.encode(unseeded)),
        "seed": str(recipe.training.seed),
        "recordings": _digest(msgspec.json.encode([[s.fingerprint for s in sets], listed])),
    }


def scale(network: Network, recipe: Recipe, chunks: list[Chunk]) -> None:
    """Set the front end's scaling from training chunks; padding has no say in it."""
    frontend = network.frontend
    scaling = recipe.frontend.scaling if isinstance(recipe.frontend, Rows) else "z-score"
    fit_scaling(frontend, torch.cat([_unscaled(frontend, chunk, network.device) for chunk in chunks]), scaling)


def _unscaled(frontend: Frontend, chunk: Chunk, device: torch.device) -> torch.Tensor:
    """A chunk's unscaled features `(n, features)`, but those of the front end's warm-up."""
    raw, _ = frontend.raw(torch.from_numpy(chunk.frames).to(device), frontend.fresh_state(len(chunk.frames)))
    first = min(frontend.warm_up, raw.shape[1] - 1)
    features = frontend.unscaled(raw[:, first:])
    if chunk.lengths is None:
        return features.flatten(0, 1)
    own = torch.arange(features.shape[1])[None] < torch.from_numpy(chunk.lengths)[:, None] - first
    return features[own.to(device)]


def _find_logbook(runs: Path, identity: Identity, resume: bool, console: Console) -> Logbook:
    """The one to go on with, if that is wanted and there is one, or a new one."""
    if resume and (logbook := Logbook.latest(runs, identity)):
        console.print(f"going on with {logbook.folder}")
        return logbook
    logbook = Logbook.begin(runs, identity)
    found = f"{runs} holds nothing to go on from: " if resume else ""
    console.print(f"{found}logging in {logbook.folder}")
    return logbook


def _begin(network: Network, recipe: Recipe, course: Course, start: Start | None) -> Network:
    """The network before the first step: prepared as its course says, or scaled, and begun where `start` says."""
    if course.prepare is not None:
        course.prepare(network)
    else:
        composer = course.streams(0)
        scale(network, recipe, [composer.next() for _ in range(SCALING_CHUNKS)])
    return network if start is None else start(network)


def _go_on(learner: Learner, fitted: Fitted, kept: Record) -> None:
    """Put all as it was when the checkpoint was written."""
    learner.restore(kept["learner"])
    fitted.network.load_state_dict(kept["weights"])
    fitted.epoch, fitted.metrics, fitted.history = kept["epoch"], kept["metrics"], kept["history"]


def _learn(
    learner: Learner, fitted: Fitted, recipe: Recipe, course: Course, logbook: Logbook, console: Console
) -> None:
    """The loop over epochs; `fitted` holds the best of them."""
    t = recipe.training
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            if not fitted.history:
                logbook.save(_checkpoint(learner, fitted))
            for epoch in range(len(fitted.history) + 1, t.epochs + 1):
                bar = progress.add_task(f"epoch {epoch}", total=t.steps_per_epoch)
                started = time.monotonic()
                steps = _learn_epoch(learner, recipe, course, epoch, logbook, partial(progress.advance, bar))
                progress.remove_task(bar)
                metrics = course.rehearsal(learner.averaged)
                mark = " *" if _is_best(fitted, learner, epoch, metrics) else ""
                record = _record(epoch, learner, steps, time.monotonic() - started, metrics)
                fitted.history.append(record)
                logbook.save(_checkpoint(learner, fitted))
                logbook.note(record)
                told = f"{record['seconds']:4.0f} s  loss {record['loss']:.3f}  {_told(metrics)}{mark}"
                console.print(f"epoch {epoch:3d}/{t.epochs}  {told}")
    except KeyboardInterrupt:
        fitted.interrupted = True
        if fitted.epoch == 0:
            fitted.network = learner.averaged


def _learn_epoch(
    learner: Learner, recipe: Recipe, course: Course, epoch: int, logbook: Logbook, advance: Callable[[], None]
) -> list[Step]:
    """Learn from an epoch's streams. Raises `OtolithError` naming the batch from which nothing could be learned."""
    learner.begin_epoch(epoch)
    steps = []
    with prefetched(course.streams(epoch)) as chunks:
        for number in range(1, recipe.training.steps_per_epoch + 1):
            chunk = next(chunks)
            try:
                steps.append(learner.learn(chunk))
            except NotFiniteError as error:
                path = logbook.keep_batch(chunk, epoch, number)
                raise OtolithError(
                    f"epoch {epoch}, step {number}: {error}{_in_streams(error.streams, chunk)}; {_remedy(chunk)} "
                    f"({path} holds the batch, {logbook.checkpoint} what was learned before)"
                ) from None
            advance()
    return steps


def _in_streams(streams: list[int], chunk: Chunk) -> str:
    return f" in streams {', '.join(map(str, streams))} of {len(chunk.fresh)}" if streams else ""


def _remedy(chunk: Chunk) -> str:
    if np.isfinite(chunk.frames).all():
        return "lower training.learning_rate, or clip gradients shorter, in the recipe"
    return "its frames hold what is not a number: mend or leave out that recording"


def _is_best(fitted: Fitted, learner: Learner, epoch: int, metrics: Metrics) -> bool:
    """Whether the epoch is the best so far; if so it is kept."""
    if metrics["score"] <= fitted.metrics.get("score", -1.0):
        return False
    fitted.network, fitted.epoch, fitted.metrics = copy.deepcopy(learner.averaged), epoch, metrics
    return True


def _record(epoch: int, learner: Learner, steps: list[Step], seconds: float, metrics: Metrics) -> Record:
    """An epoch's line in the logbook; loss and gradient norm are means over its steps."""
    return {
        "epoch": epoch,
        "step": learner.steps,
        "seconds": seconds,
        "loss": sum(step.loss for step in steps) / len(steps),
        "learning_rate": steps[-1].learning_rate,
        "gradient_norm": sum(step.gradient_norm for step in steps) / len(steps),
        **metrics,
    }


def _checkpoint(learner: Learner, fitted: Fitted) -> Record:
    """The best weights, and all that the next epoch begins from."""
    return {
        "weights": fitted.network.state_dict(),
        "epoch": fitted.epoch,
        "metrics": fitted.metrics,
        "history": fitted.history,
        "learner": learner.snapshot(),
    }


def _labels(item: AnyItem) -> str:
    return "" if isinstance(item, Run) else item.label  # a run's are in its file, which has a fingerprint


def _digest(told: bytes) -> str:
    return hashlib.sha256(told).hexdigest()


def _told(metrics: Metrics) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
