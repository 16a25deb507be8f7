"""The shortfall: what never came is counted, what came late is not."""

from __future__ import annotations

import random

import pytest

from otolith.sources.shortfall import Shortfall

RATE, BLOCK = 16000, 640


class Device:
    """Brings blocks of 40 ms by a clock of its own, `ppm` slow; each late by a draw."""

    def __init__(self, ppm: float = 0.0, seed: int = 0) -> None:
        self._period_s, self._draw = BLOCK / RATE * (1 + ppm / 1e6), random.Random(seed)
        self._captured_s = self.now_s = 1000.0
        self._shortfall = Shortfall(RATE)
        self.missing = 0

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / self._period_s)):
            self._captured_s += self._period_s
            self._bring(self._captured_s)

    def hold(self, seconds: float, kept: float) -> None:
        """Brings nothing for so long, and then the first `kept` seconds of that at once."""
        until_s = self._captured_s + seconds
        for _ in range(round(kept / self._period_s)):
            self._bring(until_s)
        self._captured_s = until_s

    def _bring(self, at_s: float) -> None:
        late_s = self._draw.expovariate(1 / 0.005) if self._draw.random() < 0.9 else self._draw.uniform(0, 0.15)
        self.now_s = max(self.now_s, at_s + late_s)
        self.missing += self._shortfall.missing(self.now_s, BLOCK)


@pytest.mark.parametrize("ppm", [-500, -50, 0, 200, 500])
def test_in_an_hour_of_jitter_and_drift_nothing_is_missing(ppm: float) -> None:
    device = Device(ppm)
    device.run(3600)
    assert device.missing == 0


@pytest.mark.parametrize("seconds", [0.3, 1.0, 8.0])
def test_what_comes_late_is_not_missing(seconds: float) -> None:
    device = Device()
    for _ in range(5):
        device.run(10)
        device.hold(seconds, seconds)
    device.run(10)
    assert device.missing == 0


@pytest.mark.parametrize(("seconds", "kept"), [(0.6, 0.0), (5.0, 2.0), (60.0, 10.0)])
def test_what_never_comes_is_counted_to_a_block_each_time(seconds: float, kept: float) -> None:
    device = Device(ppm=100)
    for number in range(5):
        device.run(5)
        device.hold(seconds, kept)
        device.run(4)
        assert abs(device.missing / RATE - (number + 1) * (seconds - kept)) < 0.04 * (number + 1)


def test_a_loss_without_a_pause_is_counted_too() -> None:
    device = Device()
    device.run(5)
    device.hold(0.2, 0.0)
    device.run(5)
    assert abs(device.missing / RATE - 0.2) < 0.04
