"""Resampling: blocks at a source's rate become blocks at the model's, with soxr's streaming resampler.

The samples are the same whatever the cutting. The filter holds some back; the capture time of what comes out is
counted from what has come out, not from what went in.
"""

from __future__ import annotations

import numpy as np
import soxr

from otolith.inference.framing import INT16_SCALE, Samples


class Resampler:
    """One stream's filter memory. Make a new one behind a gap."""

    def __init__(self, source_rate: float, model_rate: float) -> None:
        self._stream = soxr.ResampleStream(source_rate, model_rate, 1, dtype="float32", quality="HQ")
        self._source_rate, self._model_rate = source_rate, model_rate
        self._taken = 0
        self._given = 0

    @property
    def delay_s(self) -> float:
        """How far the last sample given lies behind the last one taken."""
        return self._taken / self._source_rate - self._given / self._model_rate

    def push(self, samples: Samples, last: bool = False) -> Samples:
        """What can be said of `samples` `(n,)` so far; with `last`, all the rest too."""
        if samples.dtype == np.int16:
            samples = np.multiply(samples, INT16_SCALE, dtype=np.float32)
        self._taken += len(samples)
        resampled: Samples = self._stream.resample_chunk(np.ascontiguousarray(samples, np.float32), last=last)
        self._given += len(resampled)
        return resampled
