"""The linear path of a forecast, fitted in closed form: ridge regression of the rows ahead on the look-back.

Each channel is mapped from its own past alone. All channels are fitted together first, then each on its own, held to
that common map by a penalty of its own: a channel with little to say borrows from the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from otolith_training.recipe import Forecast

Array = NDArray[np.float64]

PIECE = 4096  # windows taken in at once, to spare memory


def fit_taps(series: Sequence[Array], settings: Forecast) -> Array:
    """Weights `(channels, horizon, look_back)`, the newest row's last, of scaled `series` `(rows, channels)` each.

    With `anchor` "last" what is mapped is how the look-back differs from its last row, to how the rows ahead do; with
    "mean", the scaled values themselves. Before its first row a series is as if that had always been, as to the head.
    """
    sums = [_sums([rows[:, channel] for rows in series], settings) for channel in range(series[0].shape[1])]
    square, cross = (np.sum(parts, axis=0) for parts in zip(*sums, strict=True))
    common = np.linalg.solve(square + settings.ridge * np.eye(len(square)), cross)  # (inputs, horizon)
    maps = [common]
    if len(sums) > 1:
        penalty = settings.own_ridge * np.eye(len(square))
        maps = [common + np.linalg.solve(own + penalty, to - own @ common) for own, to in sums]
    if settings.anchor == "last":
        maps = [np.concatenate((found, 1 - found.sum(axis=0, keepdims=True))) for found in maps]
    return np.stack(maps).transpose(0, 2, 1)


def _sums(columns: Sequence[Array], settings: Forecast) -> tuple[Array, Array]:
    """`X'X` and `X'Y` of one channel over all its series."""
    inputs = settings.look_back - (settings.anchor == "last")
    square, cross = np.zeros((inputs, inputs)), np.zeros((inputs, settings.horizon))
    for windows, ahead in _windows(columns, settings):
        anchor = windows[:, -1:] if settings.anchor == "last" else np.zeros(1)
        x, y = (windows - anchor)[:, :inputs], ahead - anchor
        square += x.T @ x
        cross += x.T @ y
    return square, cross


def _windows(columns: Sequence[Array], settings: Forecast) -> Iterator[tuple[Array, Array]]:
    length = settings.look_back + settings.horizon
    for column in columns:
        column = np.concatenate((np.repeat(column[:1], settings.look_back - 1), column))
        if len(column) < length:
            continue
        whole = np.lib.stride_tricks.sliding_window_view(column, length)
        for start in range(0, len(whole), PIECE):
            piece = whole[start : start + PIECE]
            yield piece[:, : settings.look_back], piece[:, settings.look_back :]
