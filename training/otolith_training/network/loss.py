"""The loss of sets of right labels, and what is done to features while training."""

from __future__ import annotations

import torch
from torch import Tensor

from otolith_training.recipe import Clips


def tag_loss(logits: Tensor, allowed: Tensor, label_smoothing: float) -> Tensor:
    """Mean of `-log` of the summed posteriors of each frame's allowed labels; frames that allow all are not counted.

    `logits` and `allowed` (bool) are `(streams, frames, labels)`. `label_smoothing` of the target goes to all labels
    alike (Szegedy et al., 2016), which keeps posteriors from certainty.
    """
    log_posteriors = torch.log_softmax(logits, dim=-1)
    right = torch.logsumexp(log_posteriors.masked_fill(~allowed, -torch.inf), dim=-1)  # (streams, frames)
    loss = -(1 - label_smoothing) * right - label_smoothing * log_posteriors.mean(dim=-1)
    counted = ~allowed.all(dim=-1)
    return torch.where(counted, loss, 0.0).sum() / counted.sum().clamp(min=1)


def distort(raw: Tensor, colour_db: Tensor, mean: Tensor, settings: Clips) -> Tensor:
    """Mel bands `(streams, frames, bands)` under each stream's colouring, some hidden (SpecAugment, Park et al., 2019).

    A hidden band or moment takes the value `mean` `(bands,)`, which is zero once scaled.
    """
    streams, frames, bands = raw.shape
    coloured = raw + colour_db[:, None]
    hidden = _stretches(streams, bands, settings.mask_bands, raw.device)[:, None, :]
    hidden = hidden | _stretches(streams, frames, settings.mask_frames, raw.device)[:, :, None]
    return torch.where(hidden, mean, coloured)


def _stretches(streams: int, length: int, widest: int, device: torch.device) -> Tensor:
    """One random stretch of up to `widest` a stream: bool `(streams, length)`."""
    width = torch.randint(0, widest + 1, (streams, 1), device=device)
    first = (torch.rand(streams, 1, device=device) * (length - width)).long()
    place = torch.arange(length, device=device)[None]
    return (place >= first) & (place < first + width)
