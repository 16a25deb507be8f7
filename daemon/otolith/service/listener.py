"""A listener: one named stream of the daemon, from a source's blocks to messages, with its accounts.

In a daemon it has a seat in an engine, and its events come when the engine steps; `otolith infer` drives the same class
over recordings with a stream of its own, whose events come at once.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import msgspec
import numpy as np

from otolith.errors import SettingsError
from otolith.inference.card import Card
from otolith.inference.engine import Seat
from otolith.inference.events import Event, Forecasts, Posteriors
from otolith.inference.framing import Samples
from otolith.inference.stream import Stream
from otolith.inference.utterance import make_endpointer
from otolith.recordings import MAX_UPSAMPLING
from otolith.service.keeping.resumption import Ear, Kept, Resampled, Resumption
from otolith.service.relief import CHANGED, Relief
from otolith.service.vitals import Vitals
from otolith.sources.reading.pace import TOLERANCE
from otolith.sources.source import Block
from otolith.wire.line import Standing
from otolith.wire.messages import FRESH, LISTENING, Message, StatusMessage
from otolith.wire.scribe import Scribe

FROM_ITS_START = Standing("", 0)  # of a source that counts nothing

log = logging.getLogger(__name__)


class Listener:
    """Owns one `Stream` or `Seat`, the resampler before it and the scribe behind it."""

    def __init__(
        self, stream: Stream | Seat, source_rate: float, scribe: Scribe, origin: Standing = FROM_ITS_START
    ) -> None:
        self.stream, self.source_rate, self._scribe = stream, source_rate, scribe
        self._boot, self._taken = origin.boot, origin.seq  # of the source's samples; a producer's own, where it counts
        self.resumption: Resumption | None = None  # until the first block, where something is known of before
        self.began = FRESH
        self._kept = 0  # samples that the next run has to account for
        self.relief: Relief | None = None  # of another model, which listens along
        self._card = stream.model.card
        self._classifies, self._endpointer = self._card.task == "classify", make_endpointer(self._card)
        self._resamples = self._card.kind == "audio" and source_rate != self._card.sample_rate
        self._ready()

        self.vitals = Vitals()
        self._time_ns = 0  # capture time of the last sample taken, behind the resampler
        self._captured_ns = 0  # and before it, where there is one; or until when what is away has been declared lost
        self._is_away, self._state = False, LISTENING

    def take(self, block: Block) -> list[Message]:
        """What there is to tell of one block at once, in order."""
        samples, time_ns = block.samples, block.time_ns
        self._taken += len(samples)
        is_odd = block.lost or block.reason or block.ends or self._is_away or self.resumption
        is_plain = len(samples) and not is_odd
        if is_plain and self._resampler is None:  # nearly always, and nearly always there is nothing to tell
            return self._push(samples, time_ns)
        self._taken += block.lost
        goes_on: list[Message] = []
        if self.resumption is not None:
            goes_on, block = self._begin(self.resumption, block)
        turns = bool(block.rate) and block.rate != self.source_rate
        if turns:
            self._turn_to(block.rate)
        was_away, self._is_away = self._is_away, not (len(samples) or block.ends)
        self._state = block.reason if self._is_away else LISTENING
        if not self._time_ns:  # what is lost before anything was heard has a time as well
            self._time_ns = time_ns - round((len(samples) + block.lost) / (self.source_rate or 1.0) * 1e9)
        messages: list[Message] = goes_on
        if block.lost or turns or self._is_away > was_away or (block.reason and not was_away):
            messages += self._declare(round(block.lost * self._per_source_sample), block.reason)
        if len(samples) or block.lost:
            self._captured_ns = time_ns if self._is_away or self._resampler is not None else 0
        if self._resampler is not None:
            samples = self._resampler.push(samples)
            time_ns -= round(self._resampler.delay_s * 1e9)
        messages += self._push(samples, time_ns)
        if block.ends and self._classifies:
            messages += self._end_utterance()
        return messages

    def hear(self, events: list[Event]) -> list[Message]:
        """Messages of what an engine has told of this listener's seat."""
        if len(events) == 1 and self._scribe.is_quiet and isinstance(told := events[0], Posteriors | Forecasts):
            self.vitals.frames += len(told.values)  # nearly all steps of streams that tell no posteriors
            return []
        return self._write(events, self.stream.received)

    def give_way(self) -> list[Message]:
        """Last words of the old model; from here on its relief is heard."""
        relief, old = self.relief, self.stream
        assert relief is not None and isinstance(old, Seat)  # noqa: S101, PT018 - a daemon's streams have seats
        received = old.received
        if relief.is_alike:
            relief.seat.follow(old)
            events = old.leave()
        else:
            relief.seat.detector.next_id = old.detector.next_id
            events = [*old.gap(0, CHANGED), *old.leave()]
        messages = self._write(events, received)
        messages += self._scribe.flush(self._time_ns)
        relief.scribe.follow(self._scribe)
        self.stream, self._scribe, self.relief = relief.seat, relief.scribe, None
        was, self._card = self._card, self.stream.model.card
        if self._card.utterance != was.utterance or not relief.is_alike:
            self._classifies, self._endpointer = self._card.task == "classify", make_endpointer(self._card)
        if not relief.is_alike:
            self._resamples = self._card.kind == "audio" and self.source_rate != self._card.sample_rate
            self._ready()
        return messages

    def remember(self) -> Ear:
        """What is known beside the stream's own memory, as a value."""
        utterance = None if self._endpointer is None else self._endpointer.remember()
        resampled = None if self._resampler is None else Resampled(*self._resampler.remember())
        unsent = self._scribe.remember()
        told_ns = self._captured_ns or self._time_ns
        return Ear(told_ns, self.source_rate, self._boot, self._taken, unsent, utterance, resampled, self._is_away)

    def resume(
        self, kept: Kept, resumption: Resumption | None, *, told: int | None = None, with_numbers: bool = False
    ) -> list[Message]:
        """Go on where an earlier run stood, if the first block does by `resumption`, or begin afresh behind it.

        Where an earlier life is known to have told of more, `told` is how many samples of the source behind those in
        `kept` (or before them): then what waits there is no loss. `with_numbers` where it is the same run, told again.
        Returns what there is to tell of whole frames that waited, where a stream of its own steps them at once.
        """
        ear, memory = kept.ear, kept.memory
        if told is not None:
            waited = sum(map(len, memory.waiting))
            position = memory.position + waited + round(told * self._per_source_sample)
            memory = replace(memory, position=position, waiting=[])
        self._time_ns = self._captured_ns = ear.told_ns
        if ear.utterance is not None and self._endpointer is not None:
            self._endpointer.recall(ear.utterance)
        if told is None:
            self._scribe.recall(ear.unsent, with_numbers=with_numbers)
            if ear.resampled is not None and self._resampler is not None and ear.source_rate == self.source_rate:
                self._resampler.recall(ear.resampled.taken, ear.resampled.given, ear.resampled.recent)
                self._time_ns -= round(self._resampler.delay_s * 1e9)
        self.resumption, self._is_away = resumption, ear.is_away
        return self._write(self.stream.recall(memory), self.stream.received)

    def begin_fresh(self, why: str) -> None:
        """The stream knows of nothing before it, though something was kept."""
        self.began = f"{FRESH}: {why}"
        log.info("stream %s: %s", self._scribe.stream, self.began)

    def suspend(self) -> list[Message]:
        """The last messages of a run that another goes on from: nothing ends, and what fills no frame waits for it."""
        received = self.stream.received
        messages = self._write(self.stream.step(), received) if isinstance(self.stream, Seat) else []
        waiting = received - self.stream.position
        messages += self._scribe.flush(self._time_ns - round(waiting / self._card.sample_rate * 1e9))
        held_back_s = 0.0 if self._resampler is None else self._resampler.delay_s
        self._kept = waiting + round(held_back_s * self._card.sample_rate)
        return messages

    def close(self) -> list[Message]:
        """The last messages: what was active ends, posteriors that waited leave, a broken frame is declared."""
        messages = self._drain_resampler()
        received = self.stream.received
        messages += self._write(self.stream.close(), received)
        messages += self._scribe.flush(self._time_ns)
        return messages

    @property
    def posteriors_per_s(self) -> float:
        """How often posteriors are told at most."""
        return self._scribe.posteriors_per_s

    @property
    def has_heard(self) -> bool:
        """Has any sample been taken, in this run or in one that it resumes?"""
        return max(self._time_ns, self._captured_ns) > 0

    @property
    def heard_s(self) -> float:
        """How much was stepped, in seconds of its own time."""
        return self.vitals.frames / self._card.frame_rate

    @property
    def frame_period_s(self) -> float:
        """How far frames are apart; infinity for tokens, which no clock brings."""
        return math.inf if self._card.kind == "token" else 1 / self._card.frame_rate

    def status(self, uptime_s: float, real_time_factor: float, drops: int = 0, degraded: str = "") -> StatusMessage:
        """A heartbeat; levels are those of the time since the last one, `degraded` is what ails the daemon."""
        vitals, frames_per_s = self.vitals, self.vitals.frames_per_s(uptime_s)
        signal = vitals.listen(self.stream.take_level(), is_sound=self._card.kind == "audio")
        per_frame = self._card.hop_length / self._per_source_sample
        return self._scribe.status(
            self.stream.position,
            self._time_ns,
            frames=vitals.frames,
            gaps=vitals.gaps,
            lost=vitals.lost,
            drops=drops,
            real_time_factor=round(real_time_factor, 6),
            uptime_s=round(uptime_s, 3),
            level_dbfs=signal.level_dbfs,
            state=self._state,
            offset=signal.offset,
            clipped_s=signal.clipped_s,
            flat_s=signal.flat_s,
            began=self.began,
            kept=self._kept,
            degraded=degraded,
            rate=None if frames_per_s is None else round(frames_per_s * per_frame, 2),
        )

    def _begin(self, resumption: Resumption, block: Block) -> tuple[list[Message], Block]:
        """The first block of a stream that is known of: what there is to tell before it, and the block without that."""
        self.resumption, self._is_away = None, not (len(block.samples) or block.ends)
        self.began, reason = resumption.judge(block)
        log.info("stream %s: %s", self._scribe.stream, self.began)
        lost = round(block.lost * self._per_source_sample)
        if self.began.startswith(FRESH):
            messages = self._declare(lost, reason)
        else:
            messages = self._skip(lost, reason) if reason else []
        return messages, msgspec.structs.replace(block, lost=0, reason=block.reason if self._is_away else "")

    def _turn_to(self, rate: float) -> None:
        """The source has another rate from here on: it is another device, or the same one set otherwise."""
        log.info("samples now come at %g Hz instead of %g", rate, self.source_rate)
        self.source_rate = rate
        self._resamples = self._card.kind == "audio" and rate != self._card.sample_rate
        self._per_source_sample = self._card.sample_rate / rate if self._resamples else 1.0

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
        messages = self._write(self.stream.end_utterance(), received)
        if self.relief is not None:
            self.relief.begin()
        return messages

    def _push_piece(self, samples: Samples, time_ns: int) -> list[Message]:
        if not len(samples):
            return []
        received = self.stream.received
        self._time_ns = time_ns
        if self.relief is not None:
            self.relief.push(samples)
        events = self.stream.push(samples)
        return self._write(events, received + len(samples)) if events else []

    def _declare(self, lost: int, reason: str) -> list[Message]:
        messages = self._drain_resampler()
        received = self.stream.received
        messages += self._write(self.stream.gap(lost, reason), received)
        if self._endpointer is not None:
            self._endpointer.forget()
        if self.relief is not None:
            self.relief.begin()
        self._ready()
        return messages

    def _skip(self, lost: int, reason: str) -> list[Message]:
        """Declare what was lost and go on with the state from before it; only behind a restart."""
        messages = self._drain_resampler()
        received = self.stream.received
        messages += self._write(self.stream.skip(lost, reason), received)
        if self._endpointer is not None:
            self._endpointer.skip()
        if self.relief is not None:
            self.relief.begin()
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
        self.vitals.count(events)
        return list(self._scribe.write(events, received, self._time_ns))


def check_rate(card: Card, rate: float, resample: bool, where: str) -> None:
    """Raises `SettingsError` where a source's rate cannot serve a model."""
    if card.kind == "audio":
        if rate != card.sample_rate and not resample:
            raise SettingsError(
                f"{where}: model expects {card.sample_rate:g} Hz, source gives {rate:g} Hz and resample is off; "
                "set resample = true"
            )
        if card.sample_rate > MAX_UPSAMPLING * rate:
            raise SettingsError(
                f"{where}: model expects {card.sample_rate:g} Hz, source gives {rate:g} Hz; record it faster"
            )
    elif rate and abs(rate / card.sample_rate - 1) > TOLERANCE:
        raise SettingsError(
            f"{where}: model expects rows at {card.sample_rate:g} Hz, source gives {rate:.4g} Hz; "
            "resample the recording or train a model for its rate"
        )
