"""The linear path: what it is fitted to, and what it is held to."""

from __future__ import annotations

import numpy as np

from otolith_training.network.linear import fit_taps
from otolith_training.recipe import Forecast


def predicted(taps: np.ndarray, column: np.ndarray, at: int) -> np.ndarray:
    look_back = taps.shape[1]
    return np.asarray(taps @ column[at + 1 - look_back : at + 1])


def test_a_rhythm_is_foretold_from_its_past() -> None:
    wave = np.sin(np.arange(400) * 2 * np.pi / 24)[:, None]
    for anchor in ("last", "mean"):
        taps = fit_taps([wave[:300]], Forecast(horizon=6, look_back=24, ridge=1e-3, anchor=anchor))[0]
        np.testing.assert_allclose(predicted(taps, wave[:, 0], 350), wave[351:357, 0], atol=0.01)


def test_a_firm_ridge_says_the_last_value_or_the_mean() -> None:
    walk = np.cumsum(np.random.default_rng(0).normal(size=(300, 2)), axis=0)
    settings = {"horizon": 3, "look_back": 10, "ridge": 1e12, "own_ridge": 1e12}
    last = fit_taps([walk], Forecast(**settings, anchor="last"))
    mean = fit_taps([walk], Forecast(**settings, anchor="mean"))
    for channel in range(2):
        np.testing.assert_allclose(predicted(last[channel], walk[:, channel], 100), walk[100, channel], atol=1e-4)
        np.testing.assert_allclose(predicted(mean[channel], walk[:, channel], 100), 0, atol=1e-4)


def test_it_is_ridge_regression_of_differences() -> None:
    series = np.random.default_rng(1).normal(size=(200, 1))
    taps = fit_taps([series], Forecast(horizon=2, look_back=4, ridge=5.0))[0]
    padded = np.concatenate((np.repeat(series[:1, 0], 3), series[:, 0]))
    rows = [(padded[i : i + 4], padded[i + 4 : i + 6]) for i in range(len(padded) - 5)]
    x, y = np.array([w[:3] - w[3] for w, _ in rows]), np.array([a - w[3] for w, a in rows])
    expected = np.linalg.solve(x.T @ x + 5.0 * np.eye(3), x.T @ y).T
    np.testing.assert_allclose(taps[:, :3], expected, atol=1e-9)
    np.testing.assert_allclose(taps.sum(axis=1), 1)
