"""Targets: when a word may be known, when it must be, and how the loss counts it."""

from __future__ import annotations

import numpy as np
import torch

from otolith_training.data.targets import Targets
from otolith_training.network.loss import tag_loss

YES, NO, UNKNOWN, BACKGROUND = range(4)
TARGETS = Targets(4, BACKGROUND, UNKNOWN)


def quiet(frames: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    allowed = np.zeros((frames, 4), bool)
    allowed[:] = TARGETS.quiet(speech=False)
    return allowed


def test_a_word_may_be_known_only_near_its_end() -> None:
    allowed = quiet(12)
    TARGETS.mark_word(allowed, YES, start=2, known=5, told=8, end=10)
    sets = [set(np.flatnonzero(row).tolist()) for row in allowed]
    assert sets[:2] == [{BACKGROUND}] * 2
    assert sets[2:5] == [{YES, BACKGROUND}] * 3
    assert sets[5:8] == [{YES}] * 3
    assert sets[8:10] == [{YES, BACKGROUND}] * 2
    assert sets[10:] == [{BACKGROUND}] * 2


def test_a_word_that_follows_at_once_leaves_the_one_before_allowed() -> None:
    allowed = quiet(12)
    TARGETS.mark_word(allowed, YES, start=0, known=2, told=6, end=8)
    TARGETS.mark_word(allowed, NO, start=5, known=7, told=10, end=12)
    assert set(np.flatnonzero(allowed[5]).tolist()) == {YES, NO, BACKGROUND}
    assert set(np.flatnonzero(allowed[7]).tolist()) == {NO}


def test_speech_that_is_no_word_may_be_called_unknown_or_background() -> None:
    allowed = quiet(6)
    TARGETS.mark_speech(allowed, 1, 4)
    assert set(np.flatnonzero(allowed[2]).tolist()) == {UNKNOWN, BACKGROUND}
    assert set(np.flatnonzero(TARGETS.quiet(speech=True)).tolist()) == {UNKNOWN, BACKGROUND}


def test_the_loss_asks_only_that_the_allowed_labels_together_are_likely() -> None:
    allowed = torch.tensor([[[True, False, False, True]]])
    for logits in ([9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0], [8.0, 0.0, 0.0, 8.0]):
        assert float(tag_loss(torch.tensor([[logits]]), allowed, 0.0)) < 0.001
    assert float(tag_loss(torch.tensor([[[0.0, 9.0, 0.0, 0.0]]]), allowed, 0.0)) > 8


def test_padding_changes_neither_loss_nor_gradients() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 4, requires_grad=True)
    allowed = torch.rand(2, 5, 4) > 0.5
    allowed[..., 0] = True
    allowed[..., 1] = False
    loss = tag_loss(logits, allowed, 0.1)
    (gradient,) = torch.autograd.grad(loss, logits)
    padded = torch.cat((logits.detach(), torch.randn(2, 3, 4)), dim=1).requires_grad_()
    padded_loss = tag_loss(padded, torch.cat((allowed, torch.ones(2, 3, 4, dtype=torch.bool)), dim=1), 0.1)
    (padded_gradient,) = torch.autograd.grad(padded_loss, padded)
    torch.testing.assert_close(padded_loss, loss)
    torch.testing.assert_close(padded_gradient[:, :5], gradient)
    assert not padded_gradient[:, 5:].any()
