"""The fit: a network learns from composed streams, chunk by chunk, its state carried on; the best epoch is kept.

Gradients reach back through one chunk (truncated back-propagation through time, Williams and Peng, 1990); the state
itself goes on, detached, so that the network learns from states as old as a live stream's. What is measured and kept
are the averaged weights (Polyak and Juditsky, 1992).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from otolith.errors import OtolithError
from otolith.inference.card import DataSet
from otolith_training.course import Course, make_course
from otolith_training.data.composer import Chunk
from otolith_training.data.material import Items
from otolith_training.data.prefetch import prefetched
from otolith_training.measure.rehearse import Metrics
from otolith_training.network.frontend import MfccFrontend, State, fit_scaling
from otolith_training.network.loss import distort, tag_loss, warp_bands
from otolith_training.network.network import Network, begin_afresh, detach, make_network
from otolith_training.recipe import Clips, Recipe, Rows

SCALING_CHUNKS = 4  # chunks that the scaling is taken from


@dataclass(slots=True)
class Fitted:
    """A network with its best weights, and how it came to them."""

    network: Network
    epoch: int  # the best one, from 1; 0 where none was finished
    metrics: Metrics
    sets: list[DataSet]
    interrupted: bool
    history: list[Metrics] = field(default_factory=list)


def fit(
    recipe: Recipe,
    text: str,
    items: Items,
    data: Path,
    checkpoint: Path,
    console: Console,
    start: Callable[[Network], Network] | None = None,
) -> Fitted:
    """Train on `items` as the recipe asks. Ctrl-C ends it early with the best so far; `checkpoint` always holds that.

    `start` makes the weights to begin from, given a fresh network that has its scaling; without it those are drawn.
    """
    torch.manual_seed(recipe.training.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    started = time.monotonic()
    console.print(f"reading {data / recipe.data.path}")
    course = make_course(recipe, text, items, data)
    network = make_network(recipe).to(device)
    parameters = sum(p.numel() for p in network.parameters())
    console.print(f"{recipe.name}: {len(recipe.all_labels)} labels, {parameters:,} parameters, on {device}")
    with prefetched(course.composer) as chunks:
        scale(network, recipe, [next(chunks) for _ in range(SCALING_CHUNKS)])
        if start is not None:
            network = start(network).to(device)
        fitted = _learn(network, recipe, course, chunks, checkpoint, console)
    state = "interrupted" if fitted.interrupted else "trained"
    minutes = (time.monotonic() - started) / 60
    console.print(f"{state} after {minutes:.1f} minutes; epoch {fitted.epoch} is kept: {_told(fitted.metrics)}")
    return fitted


def scale(network: Network, recipe: Recipe, chunks: list[Chunk]) -> None:
    """Set the front end's scaling from training chunks."""
    frontend = network.frontend
    device = network.head.weight.device
    frames = torch.from_numpy(np.concatenate([chunk.frames for chunk in chunks])).to(device)
    raw, _ = frontend.raw(frames, frontend.fresh_state(len(frames)))
    scaling = recipe.frontend.scaling if isinstance(recipe.frontend, Rows) else "z-score"
    fit_scaling(frontend, frontend.unscaled(raw).flatten(0, 1), scaling)


def _learn(
    network: Network, recipe: Recipe, course: Course, chunks: Iterator[Chunk], checkpoint: Path, console: Console
) -> Fitted:
    """The loop over epochs."""
    t = recipe.training
    averaged = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=t.learning_rate, weight_decay=t.weight_decay)
    total = t.epochs * t.steps_per_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, t.learning_rate, total_steps=total, pct_start=t.warm_up)
    fitted = Fitted(copy.deepcopy(network), 0, {}, course.sets, interrupted=False)
    save_checkpoint(checkpoint, fitted)
    state = network.fresh_state(t.batch)
    steps = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            for epoch in range(1, t.epochs + 1):
                bar = progress.add_task(f"epoch {epoch}", total=t.steps_per_epoch)
                started, losses = time.monotonic(), 0.0
                for _ in range(t.steps_per_epoch):
                    loss, state = _step(network, recipe, optimizer, next(chunks), state)
                    schedule.step()
                    steps += 1
                    _average(averaged, network, min(t.average, steps / (steps + 10)))  # forgets its first steps soon
                    losses += loss
                    progress.advance(bar)
                progress.remove_task(bar)
                metrics = course.rehearsal(averaged)
                seconds = time.monotonic() - started
                fitted.history.append(metrics)
                mark = ""
                if metrics["score"] > fitted.metrics.get("score", -1.0):
                    fitted.network, fitted.epoch, fitted.metrics = copy.deepcopy(averaged), epoch, metrics
                    save_checkpoint(checkpoint, fitted)
                    mark = " *"
                loss = losses / t.steps_per_epoch
                console.print(f"epoch {epoch:3d}/{t.epochs}  {seconds:4.0f} s  loss {loss:.3f}  {_told(metrics)}{mark}")
    except KeyboardInterrupt:
        fitted.interrupted = True
        if fitted.epoch == 0:
            fitted.network = averaged
            save_checkpoint(checkpoint, fitted)
    return fitted


def _step(
    network: Network, recipe: Recipe, optimizer: torch.optim.Optimizer, chunk: Chunk, state: State
) -> tuple[float, State]:
    """Learn from one chunk; returns the loss and the state behind it, cut from its gradients."""
    t = recipe.training
    device = network.head.weight.device
    network.train()
    state = begin_afresh(state, torch.from_numpy(chunk.fresh).to(device))
    frontend = network.frontend
    with torch.no_grad():
        raw, following = frontend.raw(torch.from_numpy(chunk.frames).to(device), state)
        if chunk.warp is not None and isinstance(frontend, MfccFrontend):
            raw = warp_bands(raw, torch.from_numpy(chunk.warp).to(device), frontend.centres_hz)
        if chunk.colour_db is not None and isinstance(recipe.streams, Clips):
            colour = torch.from_numpy(chunk.colour_db).to(device)
            raw = distort(raw, colour, network.frontend.neutral(), recipe.streams)
        features = frontend.scaled(raw)
    logits, rest = network.logits(features, state)
    loss = tag_loss(logits, torch.from_numpy(chunk.allowed).to(device), t.label_smoothing)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise OtolithError(f"the loss is {value}; lower training.learning_rate or training.clip_norm in the recipe")
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(network.parameters(), t.clip_norm)
    optimizer.step()
    return value, detach({**following, **rest})


def _average(averaged: Network, network: Network, decay: float) -> None:
    with torch.no_grad():
        for mean, weight in zip(averaged.parameters(), network.parameters(), strict=True):
            mean.lerp_(weight, 1 - decay)


def save_checkpoint(path: Path, fitted: Fitted) -> None:
    """Write the best weights beside `path`, then rename: a checkpoint is whole or is the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    weights = {name: value.cpu() for name, value in fitted.network.state_dict().items()}
    torch.save({"weights": weights, "epoch": fitted.epoch, "metrics": fitted.metrics}, beside)
    beside.replace(path)


def _told(metrics: Metrics) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
