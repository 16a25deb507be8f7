"""The learner: a network with its averaged weights, optimizers and schedules, which takes one step a chunk.

Gradients reach back through one chunk (truncated back-propagation through time, Williams and Peng, 1990); the state
itself goes on, detached, so that the network learns from states as old as a live stream's. What is measured and kept
are the averaged weights (Polyak and Juditsky, 1992).
"""

from __future__ import annotations

import copy
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otolith_training.data.composer import Chunk
from otolith_training.network.forecast_loss import forecast_loss, teacher_share
from otolith_training.network.frontend import SoundFrontend
from otolith_training.network.loss import distort, tag_loss, warp_bands
from otolith_training.network.network import Network, begin_afresh, detach
from otolith_training.optimizer import make_optimizers, one_cycle
from otolith_training.recipe import Clips, Recipe, Signals, Training


class NotFiniteError(Exception):
    """A chunk from which nothing can be learned; the weights are as they were before it."""

    def __init__(self, what: str, streams: list[int]) -> None:
        super().__init__(what)
        self.streams = streams  # whose log posteriors are not finite


@dataclass(frozen=True, slots=True)
class Step:
    """What one chunk taught."""

    loss: float
    gradient_norm: float  # before any clipping
    learning_rate: float


class Learner:
    """All that changes while a network learns, the streams apart, which are the composer's."""

    def __init__(self, network: Network, recipe: Recipe) -> None:
        t = recipe.training
        self._recipe = recipe
        self.network = network
        self.averaged = copy.deepcopy(network)
        self._optimizers = make_optimizers(network, t)
        self._schedules = [one_cycle(optimizer, t) for optimizer in self._optimizers]
        self.steps = 0
        self._state = network.fresh_state(t.batch)

    def begin_epoch(self, epoch: int) -> None:
        """Draw what the epoch's steps draw from its own seed; its streams start afresh, and so does their state."""
        torch.manual_seed(epoch_seed(self._recipe.training.seed, epoch))
        self._state = self.network.fresh_state(self._recipe.training.batch)

    def learn(self, chunk: Chunk) -> Step:
        """Learn from the next chunk of the epoch's streams. Raises `NotFiniteError`."""
        t = self._recipe.training
        loss = self._forward(chunk)
        self.network.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = clip_gradients(self.network, t)
        if not math.isfinite(norm):
            raise NotFiniteError(f"the gradient's norm is {norm}", [])
        rate = float(self._optimizers[0].param_groups[0]["lr"])
        for optimizer, schedule in zip(self._optimizers, self._schedules, strict=True):
            optimizer.step()
            schedule.step()
        self.steps += 1
        self._average(min(t.average, self.steps / (self.steps + 10)))  # forgets its first steps soon
        return Step(float(loss.detach()), norm, rate)

    def _forward(self, chunk: Chunk) -> Tensor:
        """The chunk's loss; the state goes on behind it, cut from its gradients."""
        network, recipe = self.network, self._recipe
        device = network.device
        network.train()
        state = begin_afresh(self._state, torch.from_numpy(chunk.fresh).to(device))
        with torch.no_grad():
            raw, following = network.frontend.raw(torch.from_numpy(chunk.frames).to(device), state)
            if chunk.warp is not None and isinstance(network.frontend, SoundFrontend):
                raw = warp_bands(raw, torch.from_numpy(chunk.warp).to(device), network.frontend.centres_hz)
            if chunk.colour_db is not None and isinstance(recipe.streams, Clips | Signals):
                colour = torch.from_numpy(chunk.colour_db).to(device)
                raw = distort(raw, colour, network.frontend.neutral(), recipe.streams)
        features = network.frontend.scaled(raw)  # of tokens this is where their vectors learn
        if recipe.forecast is not None:
            done = self.steps / self._schedules[0].total_steps
            loss, rest = forecast_loss(network, features, state, chunk, teacher_share(recipe.forecast, done))
            if not math.isfinite(float(loss.detach())):
                raise NotFiniteError(f"the loss is {float(loss.detach())}", [])
            self._state = detach({**following, **rest})
            return loss
        is_padded = network.settings.bidirectional and chunk.lengths is not None  # else padding is never looked at
        logits, rest = network.logits(features, state, torch.from_numpy(chunk.lengths) if is_padded else None)
        loss = tag_loss(logits, torch.from_numpy(chunk.allowed).to(device), recipe.training.label_smoothing)
        if not math.isfinite(float(loss.detach())):
            finite = torch.isfinite(torch.log_softmax(logits.detach(), dim=-1)).flatten(1).all(dim=1)
            raise NotFiniteError(f"the loss is {float(loss.detach())}", torch.nonzero(~finite).flatten().tolist())
        self._state = detach({**following, **rest})
        return loss

    def _average(self, decay: float) -> None:
        with torch.no_grad():
            for mean, weight in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)

    def snapshot(self) -> dict[str, Any]:
        """Everything that the next epoch begins from, as tensors and plain values; later steps do not change it."""
        parts = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "schedules": [schedule.state_dict() for schedule in self._schedules],
            "steps": self.steps,
        }
        return copy.deepcopy(parts)

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot of a learner of the same recipe."""
        self.network.load_state_dict(snapshot["network"])
        self.averaged.load_state_dict(snapshot["averaged"])
        for optimizer, state in zip(self._optimizers, snapshot["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        for schedule, state in zip(self._schedules, snapshot["schedules"], strict=True):
            schedule.load_state_dict(state)
        self.steps = snapshot["steps"]


def clip_gradients(network: Network, training: Training) -> float:
    """Clip the network's gradients in place as the recipe says; returns their norm before."""
    if training.clip_value is not None:
        norm = torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
        torch.nn.utils.clip_grad_value_(network.parameters(), training.clip_value)
    else:
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), training.longest_gradient)
    return float(norm)


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed of an epoch's own."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])


def pick_device() -> torch.device:
    """A GPU where there is one, told to add up in the same order each time; else the processor."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once, at its first call
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return torch.device("cuda")
