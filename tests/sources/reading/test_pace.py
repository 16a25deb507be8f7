"""A sensor of another rate than its model's is said, once."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from otolith.sources.reading.pace import Pacemaker
from otolith.sources.source import Block

ROW = np.zeros((1, 2), np.float32)


def told(caplog: pytest.LogCaptureFixture, rate: float, *, lost: int = 0) -> list[str]:
    caplog.clear()
    pacemaker = Pacemaker("a sensor", 100.0)
    with caplog.at_level(logging.INFO):
        for number in range(round(45 * rate)):
            pacemaker.push(Block(ROW, 0, lost, "malformed row" if lost else ""), number / rate)
    return caplog.messages


def test_another_rate_is_said_once_and_a_little_off_is_not(caplog: pytest.LogCaptureFixture) -> None:
    (message,) = told(caplog, 50.0)
    assert "rows come at 50 Hz, the model was made for 100 Hz" in message
    assert told(caplog, 104.3) == []


def test_rows_that_cannot_be_read_came_too(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, 50.0, lost=1) == []
