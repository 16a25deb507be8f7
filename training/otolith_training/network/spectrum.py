"""The DFT in two stages of small real matrices (Cooley and Tukey, 1965), for a graph that has only `MatMul`.

With `n = columns * r + c` and `k = p + rows * q`, stage one is a DFT of length `rows` down each column, for
`p = 0..rows/2` only: the input is real, so all other bins are mirror images. Stage two is, for each `p`, one real
matrix from the column's real and imaginary parts to those of all `q`, with the twiddle factors folded in. Of 512 =
32 x 16 that makes 35,000 multiplications a frame instead of 263,000, and a file smaller by a megabyte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

SMALLEST, LARGEST = 8, 64  # factors outside are no gain over one large multiplication


@dataclass(frozen=True, slots=True)
class Factors:
    """A window length as `rows * columns`."""

    rows: int
    columns: int

    @classmethod
    def of(cls, length: int) -> Self | None:
        """The factors that take the fewest multiplications, rows even; None where there are none worth it."""
        fitting = [
            cls(rows, length // rows)
            for rows in range(SMALLEST, LARGEST + 1, 2)
            if length % rows == 0 and SMALLEST <= length // rows <= LARGEST
        ]
        return min(fitting, key=lambda factors: factors.multiplications, default=None)

    @property
    def kept(self) -> int:
        """How many `p` stage one computes."""
        return self.rows // 2 + 1

    @property
    def multiplications(self) -> int:
        """Of both stages, for one window."""
        return 2 * self.kept * self.rows * self.columns + self.kept * (2 * self.columns) ** 2


def first_stage(factors: Factors) -> Matrix:
    """`(2 * kept, rows)`: for each p the real row, then the imaginary one."""
    angle = -2 * np.pi * np.outer(np.arange(factors.kept), np.arange(factors.rows)) / factors.rows
    return np.stack((np.cos(angle), np.sin(angle)), axis=1).reshape(2 * factors.kept, factors.rows)


def last_stage(factors: Factors) -> Matrix:
    """`(kept, 2 * columns, 2 * columns)`: real and imaginary of each column to real and imaginary of each q."""
    columns, length = factors.columns, factors.rows * factors.columns
    p = np.arange(factors.kept)[:, None, None]
    c, q = np.arange(columns)[:, None], np.arange(columns)[None, :]
    angle = -2 * np.pi * (c * p / length + c * q / columns)  # (kept, c, q)
    cosine, sine = np.cos(angle), np.sin(angle)
    from_real = np.concatenate((cosine, sine), axis=2)
    from_imaginary = np.concatenate((-sine, cosine), axis=2)
    return np.concatenate((from_real, from_imaginary), axis=1)


def band_stage(factors: Factors, filters: Matrix) -> Matrix:
    """Filters `(bins, bands)` over squared outputs of the last stage: `(kept * 2 * columns, bands)`.

    Each bin is taken once: from where it stands, or from its mirror image.
    """
    length = factors.rows * factors.columns
    weights = np.zeros((factors.kept, factors.columns, filters.shape[1]))
    for k in range(length // 2 + 1):
        at = k if k % factors.rows < factors.kept else length - k
        weights[at % factors.rows, at // factors.rows] = filters[k]
    return np.concatenate((weights, weights), axis=1).reshape(-1, filters.shape[1])


def power_matrices(length: int) -> tuple[Matrix, Matrix]:
    """The whole DFT of real input: cosines and sines `(length, bins)`."""
    angle = 2 * np.pi * np.outer(np.arange(length), np.arange(length // 2 + 1)) / length
    return np.cos(angle), np.sin(angle)
