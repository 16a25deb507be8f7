"""A listener: one named stream of the daemon, from a source's blocks to messages, with its accounts.

In a daemon it has a seat in an engine, and its events come when the engine steps; `otolith infer` drives the same class
over recordings with a stream of its own, whose events come at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from otolith.errors import SettingsError
from otolith.inference.card import Card
from otolith.inference.engine import Seat
from otolith.inference.events import Event, Gap, Posteriors
from otolith.inference.framing import Samples
from otolith.inference.stream import Stream
from otolith.inference.utterance import ENDED, make_endpointer
from otolith.sources.source import Block
from otolith.wire.messages import Message
from otolith.wire.scribe import Scribe

# Sensors run a little off their nominal rate (102.5 and 104.3 Hz for "100 Hz"); rows are fed by count within this.
SENSOR_RATE_TOLERANCE = 0.2


class Listener:
    """Owns one `Stream` or `Seat`, the resampler before it and the scribe behind it."""

    def __init__(self, stream: Stream | Seat, source_rate: float, scribe: Scribe) -> None:
        self.stream, self.source_rate, self._scribe = stream, source_rate, scribe
        self._card = stream.model.card
        self._classifies, self._endpointer = self._card.task == "classify", make_endpointer(self._card)
        self._resamples = self._card.kind == "audio" and source_rate != self._card.sample_rate
        self._ready()

        self.frames = 0
        self.gaps = 0
        self.lost = 0
        self._time_ns = 0  # capture time of the last sample taken
        self._told_frames = 0  # at the last heartbeat

    def take(self, block: Block) -> list[Message]:
        """What there is to tell of one block at once, in order."""
        if not block.lost and not block.ends and self._resampler is None:  # nearly always, and then there is nothing
            return self._push(block.samples, block.time_ns)
        messages = self._declare(round(block.lost * self._per_source_sample), block.reason) if block.lost else []
        samples, time_ns = block.samples, block.time_ns
        if self._resampler is not None:
            samples = self._resampler.push(samples)
            time_ns -= round(self._resampler.delay_s * 1e9)
        messages += self._push(samples, time_ns)
        if block.ends and self._classifies:
            messages += self._end_utterance()
        return messages

    def hear(self, events: list[Event]) -> list[Message]:
        """Messages of what an engine has told of this listener's seat."""
        if len(events) == 1 and self._scribe.is_quiet and isinstance(posteriors := events[0], Posteriors):
            self.frames += len(posteriors.values)  # nearly all steps of streams that tell no posteriors
            return []
        return self._write(events, self.stream.received)

    def close(self) -> list[Message]:
        """The last messages: what was active ends, posteriors that waited leave, a broken frame is declared."""
        messages = self._drain_resampler()
        received = self.stream.received
        messages += self._write(self.stream.close(), received)
        messages += self._scribe.flush(self._time_ns)
        return messages

    @property
    def heard_s(self) -> float:
        """How much was stepped, in seconds of its own time."""
        return self.frames / self._card.frame_rate

    def status(self, uptime_s: float, real_time_factor: float, drops: int = 0) -> Message:
        """A heartbeat; the level is that of the time since the last one."""
        peak, is_heard = self.stream.take_peak(), self.frames > self._told_frames and self._card.kind == "audio"
        self._told_frames = self.frames
        return self._scribe.status(
            self.stream.position,
            self._time_ns,
            frames=self.frames,
            gaps=self.gaps,
            lost=self.lost,
            drops=drops,
            real_time_factor=round(real_time_factor, 6),
            uptime_s=round(uptime_s, 3),
            level_dbfs=round(20 * math.log10(max(peak, 1e-5)), 1) if is_heard else None,
        )

    def _ready(self) -> None:
        """A fresh resampler, for a fresh stream."""
        self._per_source_sample = 1.0
        self._resampler = None
        if self._resamples:
            from otolith.sources.resampler import Resampler  # here: soxr takes a tenth of a second to import

            self._per_source_sample = self._card.sample_rate / self.source_rate
            self._resampler = Resampler(self.source_rate, self._card.sample_rate)

    def _push(self, samples: Samples, time_ns: int) -> list[Message]:
        """Push what was captured until `time_ns`, and end the utterances that silence ends within it."""
        if self._endpointer is None:
            return self._push_piece(samples, time_ns)
        *ended, rest = self._endpointer.cut(samples)
        messages: list[Message] = []
        left = len(samples)
        for piece in ended:
            left -= len(piece)
            messages += self._push_piece(piece, time_ns - round(left / self._card.sample_rate * 1e9))
            messages += self._end_utterance()
        return messages + self._push_piece(rest, time_ns)

    def _end_utterance(self) -> list[Message]:
        received = self.stream.received
        return self._write(self.stream.end_utterance(), received)

    def _push_piece(self, samples: Samples, time_ns: int) -> list[Message]:
        if not len(samples):
            return []
        received = self.stream.received
        self._time_ns = time_ns
        events = self.stream.push(samples)
        return self._write(events, received + len(samples)) if events else []

    def _declare(self, lost: int, reason: str) -> list[Message]:
        messages = self._drain_resampler()
        received = self.stream.received
        messages += self._write(self.stream.gap(lost, reason), received)
        if self._endpointer is not None:
            self._endpointer.forget()
        self._ready()
        return messages

    def _drain_resampler(self) -> list[Message]:
        """What the resampling filter still holds is sound that was heard: it goes through before the stream ends."""
        if self._resampler is None:
            return []
        delay_s = self._resampler.delay_s
        rest = self._resampler.push(np.empty(0, np.float32), last=True)
        return self._push(rest, self._time_ns + round(delay_s * 1e9))

    def _write(self, events: list[Event], received: int) -> list[Message]:
        self._count(events)
        return list(self._scribe.write(events, received, self._time_ns))

    def _count(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Posteriors):
                self.frames += len(event.values)
            elif isinstance(event, Gap) and event.reason != ENDED:
                self.gaps += 1
                self.lost += event.lost


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
