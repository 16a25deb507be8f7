"""The loss of sets of right labels, and what is done to features while training."""

from __future__ import annotations

import torch
from torch import Tensor

from otolith_training.recipe import Clips, Signals

HINGE = 0.6  # of the highest band: the 4.8 kHz of 8 kHz that Jaitly and Hinton hold to cover the formants


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


def warp_bands(raw: Tensor, warp: Tensor, centres_hz: Tensor) -> Tensor:
    """Mel bands `(streams, frames, bands)` with their frequencies times `warp` `(streams,)`, as of other speakers.

    Vocal tract length perturbation (Jaitly and Hinton, 2013) on bands that are known already: each takes its value from
    where its centre `(bands,)` came from, by straight lines between bands. Frequencies are moved by the factor up to
    a hinge, from there in a straight line to the highest band, which stays.
    """
    top = centres_hz[-1]
    high = HINGE * top * warp.clamp(max=1.0)[:, None]  # where the hinge is moved to ...
    low = high / warp[:, None]  # ... and where from (streams, 1)
    beyond = low + (centres_hz - high) * (top - low) / (top - high)
    source = torch.where(centres_hz <= high, centres_hz / warp[:, None], beyond)  # (streams, bands)
    above = torch.searchsorted(centres_hz, source).clamp(1, len(centres_hz) - 1)
    part = (source - centres_hz[above - 1]) / (centres_hz[above] - centres_hz[above - 1])
    place = above - 1 + part.clamp(0, 1)  # (streams, bands), between bands; below the lowest it is what is heard
    bands = torch.arange(len(centres_hz), device=raw.device)
    shares = (1 - (place[:, None] - bands[:, None]).abs()).clamp(min=0)  # (streams, bands from, bands to)
    return raw @ shares


def distort(raw: Tensor, colour_db: Tensor, mean: Tensor, settings: Clips | Signals) -> Tensor:
    """Bands `(streams, frames, bands)` under each stream's colouring, some hidden (SpecAugment, Park et al., 2019).

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
