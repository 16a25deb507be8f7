"""Losses that follow one another: all are told, few at a time."""

from __future__ import annotations

import numpy as np

from otolith.sources.reading.losses import Losses
from otolith.sources.source import Block

NOTHING, ROWS = np.empty((0, 2), np.float32), np.zeros((3, 2), np.float32)


def test_the_first_loss_is_told_at_once_and_the_others_twice_a_second() -> None:
    losses = Losses("a sensor")
    blocks = []
    for number in range(1000):
        blocks += losses.push(Block(NOTHING, number, 1, "malformed row"), number / 100)
    assert blocks[0].time_ns == 0
    assert 18 <= len(blocks) <= 22
    assert sum(block.lost for block in (*blocks, *losses.end())) == 1000


def test_what_was_held_is_told_before_rows_are_heard() -> None:
    losses = Losses("a sensor")
    came = [*[Block(NOTHING, 0, 1, "malformed row")] * 3, Block(ROWS, 1)]
    blocks = [told for block in came for told in losses.push(block, 0.0)]
    assert [(len(block.samples), block.lost, block.reason) for block in blocks] == [
        (0, 1, "malformed row"),
        (3, 2, "malformed row"),
    ]
    assert list(losses.end()) == []


def test_another_reason_is_told_at_once() -> None:
    losses = Losses("a sensor")
    for reason in ("malformed row", "malformed row", "malformed row", "vanished"):
        told = list(losses.push(Block(NOTHING, 0, 1, reason), 0.0))
    assert [(block.lost, block.reason) for block in told] == [(2, "malformed row"), (1, "vanished")]
