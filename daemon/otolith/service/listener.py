"""A listener: one named stream of the daemon, from a source's blocks to messages, with its accounts.

`otolith infer` drives the same class over recordings, without a daemon.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping

import numpy as np

from otolith.errors import SettingsError
from otolith.inference.card import Card, Trigger
from otolith.inference.events import Event, Gap, Posteriors
from otolith.inference.framing import Samples
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.sources.source import Block
from otolith.wire.messages import Message
from otolith.wire.scribe import Scribe

# Sensors run a little off their nominal rate (102.5 and 104.3 Hz for "100 Hz"); rows are fed by count within this.
SENSOR_RATE_TOLERANCE = 0.2


class Listener:
    """Owns one `Stream`, the resampler before it and the scribe behind it."""

    def __init__(
        self, model: Model, source_rate: float, scribe: Scribe, triggers: Mapping[str, Trigger] | None = None
    ) -> None:
        self._model, self._source_rate, self._scribe = model, source_rate, scribe
        self._resamples = model.card.kind == "audio" and source_rate != model.card.sample_rate
        self._stream = Stream(model, triggers)
        self._ready()

        self.frames = 0
        self.gaps = 0
        self.lost = 0
        self.drops = 0
        self._time_ns = 0  # capture time of the last sample taken
        self._busy_s = 0.0
        self._heard_s = 0.0
        self._peak: float | None = None

    def take(self, block: Block) -> list[Message]:
        """Messages of one block, in order."""
        started_s = time.perf_counter()
        messages: list[Message] = []
        if block.lost:
            messages += self._declare(round(block.lost * self._per_source_sample), block.reason)
        samples, time_ns = block.samples, block.time_ns
        self._measure_level(samples)
        if self._resampler is not None:
            samples = self._resampler.push(samples)
            time_ns -= round(self._resampler.delay_s * 1e9)
        if len(samples):
            messages += self._push(samples, time_ns)
        self._heard_s += len(block.samples) / self._source_rate if self._source_rate else 0.0
        self._busy_s += time.perf_counter() - started_s
        return messages

    def close(self) -> list[Message]:
        """The last messages: what was active ends, posteriors that waited leave, a broken frame is declared."""
        messages = self._drain_resampler()
        received = self._stream.received
        messages += self._write(self._stream.close(), received)
        messages += self._scribe.flush(self._time_ns)
        return messages

    def status(self, uptime_s: float) -> Message:
        """A heartbeat of the time since the last one."""
        factor = self._busy_s / self._heard_s if self._heard_s else 0.0
        level = None if self._peak is None else round(20 * math.log10(max(self._peak, 1e-5)), 1)
        self._busy_s = self._heard_s = 0.0
        self._peak = None
        return self._scribe.status(
            self._stream.position,
            self._time_ns,
            frames=self.frames,
            gaps=self.gaps,
            lost=self.lost,
            drops=self.drops,
            real_time_factor=round(factor, 6),
            uptime_s=round(uptime_s, 3),
            level_dbfs=level,
        )

    def _ready(self) -> None:
        """A fresh resampler, for a fresh stream."""
        self._per_source_sample = 1.0
        self._resampler = None
        if self._resamples:
            from otolith.sources.resampler import Resampler  # here: soxr takes a tenth of a second to import

            self._per_source_sample = self._model.card.sample_rate / self._source_rate
            self._resampler = Resampler(self._source_rate, self._model.card.sample_rate)

    def _push(self, samples: Samples, time_ns: int) -> list[Message]:
        received = self._stream.received + len(samples)
        self._time_ns = time_ns
        return self._write(self._stream.push(samples), received)

    def _declare(self, lost: int, reason: str) -> list[Message]:
        messages = self._drain_resampler()
        received = self._stream.received
        messages += self._write(self._stream.gap(lost, reason), received)
        self._ready()
        return messages

    def _drain_resampler(self) -> list[Message]:
        """What the resampling filter still holds is sound that was heard: it goes through before the stream ends."""
        if self._resampler is None:
            return []
        delay_s = self._resampler.delay_s
        rest = self._resampler.push(np.empty(0, np.float32), last=True)
        return self._push(rest, self._time_ns + round(delay_s * 1e9)) if len(rest) else []

    def _write(self, events: list[Event], received: int) -> list[Message]:
        self._count(events)
        return list(self._scribe.write(events, received, self._time_ns))

    def _count(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Posteriors):
                self.frames += len(event.values)
            elif isinstance(event, Gap):
                self.gaps += 1
                self.lost += event.lost

    def _measure_level(self, samples: Samples) -> None:
        if samples.ndim == 1 and len(samples):
            peak = max(float(samples.max()), -float(samples.min()))
            peak = peak / 32768 if samples.dtype == np.int16 else peak
            self._peak = max(self._peak or 0.0, peak)


def check_rate(card: Card, rate: float, resample: bool, where: str) -> None:
    """Raises `SettingsError` where a source's rate cannot serve a model."""
    if card.kind == "audio":
        if rate != card.sample_rate and not resample:
            raise SettingsError(
                f"{where}: model expects {card.sample_rate:g} Hz, source gives {rate:g} Hz and resample is off; "
                "set resample = true"
            )
    elif rate and abs(rate / card.sample_rate - 1) > SENSOR_RATE_TOLERANCE:
        raise SettingsError(
            f"{where}: model expects rows at {card.sample_rate:g} Hz, source gives {rate:.4g} Hz; "
            "resample the recording or train a model for its rate"
        )
