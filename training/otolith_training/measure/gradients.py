"""Gradients through time: how much what was heard k frames ago still moves the loss of now.

Back-propagated through many steps a gradient shrinks or grows by the same factor again and again (Bengio, Simard and
Frasconi, 1994): how soon it is lost is how far back a network can learn from.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from otolith_training.data.composer import Chunk
from otolith_training.network.loss import tag_loss
from otolith_training.network.network import Network, begin_afresh, detach

Floats = NDArray[np.float64]

LOST = 0.01  # of the largest norm; below it a gradient is held to have vanished


def gradients_through_time(network: Network, chunks: Sequence[Chunk]) -> Floats:
    """The norm of d loss of the last frame / d scaled features of k frames earlier, k = 0, 1, ... `(frames,)`.

    `chunks` follow one another; the first only brings the state to what a live stream's would be, the others are
    averaged over. Of a network that also reads backwards it is the way forwards that is seen.
    """
    network = copy.deepcopy(network).cpu().eval()
    state, squares = network.fresh_state(len(chunks[0].frames)), []
    for number, chunk in enumerate(chunks):
        state = begin_afresh(state, torch.from_numpy(chunk.fresh))
        with torch.no_grad():
            raw, following = network.frontend.raw(torch.from_numpy(chunk.frames), state)
        features = network.frontend.scaled(raw).requires_grad_()
        logits, rest = network.logits(features, state)
        if number:
            loss = tag_loss(logits[:, -1:], torch.from_numpy(chunk.allowed)[:, -1:], 0.0)
            (gradient,) = torch.autograd.grad(loss, features)
            squares.append(gradient.square().sum(dim=(0, 2)).double())
        state = detach({**following, **rest})
    norms: Floats = torch.stack(squares).mean(dim=0).sqrt().flip(0).numpy()
    return norms


def reach(norms: Floats) -> int | None:
    """After how many frames a gradient is lost for good; None where it is not within what was measured."""
    kept = np.flatnonzero(norms >= LOST * norms.max())
    last = int(kept[-1]) + 1 if len(kept) and norms.max() > 0 else 0
    return None if last == len(norms) else last
