"""The scribe: events of one stream become numbered messages with a time.

Inside, time is counted in samples; this is where it becomes UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from otolith.inference.events import Anomaly, Detection, Event, Forecasts, Gap, Posteriors
from otolith.inference.model import Model
from otolith.wire.messages import (
    KINDS,
    AnomalyMessage,
    DetectionMessage,
    ForecastMessage,
    GapMessage,
    Kind,
    Message,
    PosteriorsMessage,
    StatusMessage,
)


class Unsent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a scribe holds: values and scores of `frames` frames up to `until`, and the next of each of `KINDS`."""

    values: list[bytes]
    scores: list[bytes]
    frames: int
    until: int
    seq: list[int]


class Scribe:
    """Writes one stream's messages.

    `now_ns` is the clock that latency is told by; without one it is counted in sound. `posteriors_per_s` bounds how
    often posteriors or forecasts are written (0: never): frames wait and go out together, none is left out.
    """

    def __init__(
        self,
        boot: str,
        stream: str,
        model: Model,
        *,
        posteriors_per_s: float = float("inf"),
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        self._boot, self.stream, self._model = boot, stream, model.identity
        self._now_ns = now_ns
        self._labels = model.card.labels
        self._forecasts = model.card.output == "forecast"
        self._channels = [channel.name for channel in model.card.channels]
        self._horizon = model.card.output_shape[0]
        self._ns_per_sample = 1e9 / model.card.sample_rate
        self.posteriors_per_s, self.is_quiet = posteriors_per_s, posteriors_per_s <= 0
        self._frames_per_message = 1 if self.is_quiet else max(1, round(model.card.frame_rate / posteriors_per_s))
        self._held: list[bytes] = []
        self._held_scores: list[bytes] = []
        self._held_frames = self._held_until = 0
        self._seq: dict[Kind, int] = dict.fromkeys(KINDS, 0)  # of the next message

    def follow(self, other: Scribe) -> None:
        """Go on with the numbers of `other`, which writes no more."""
        self._seq = other._seq

    def remember(self) -> Unsent:
        """What waits for company, and the numbers of the messages that come next."""
        seq = [*self._seq.values()]
        return Unsent([*self._held], [*self._held_scores], self._held_frames, self._held_until, seq)

    def recall(self, unsent: Unsent, *, with_numbers: bool = False) -> None:
        """Go on with what waited in another run; its numbers too where it is the same run that is told again."""
        self._held, self._held_scores = [*unsent.values], [*unsent.scores]
        self._held_frames, self._held_until = unsent.frames, unsent.until
        if with_numbers:
            self._seq = dict(zip(KINDS, unsent.seq, strict=False))

    def write(self, events: Iterable[Event], received: int, time_ns: int) -> Iterator[Message]:
        """Messages of `events`, given that sample `received` since the fresh start was captured at `time_ns`."""
        for event in events:
            if self.is_quiet and isinstance(event, Posteriors | Forecasts):
                continue
            at_ns = time_ns - round((received - event.position) * self._ns_per_sample)
            match event:
                case Posteriors() | Forecasts():
                    yield from self._hold(event, at_ns)
                case Detection():
                    yield self._detection(event, at_ns)
                case Anomaly():
                    yield self._anomaly(event, at_ns)
                case Gap():
                    yield from self.flush(at_ns)
                    head = self._head("gap", event.position, at_ns)
                    yield GapMessage(**head, lost=event.lost, reason=event.reason)

    def flush(self, time_ns: int) -> Iterator[Message]:
        """Posteriors or forecasts that wait for company, if any; `time_ns` is when the last of them was captured."""
        if not self._held:
            return
        frames, values = self._held_frames, b"".join(self._held)
        scores = b"".join(self._held_scores) if self._held_scores else msgspec.UNSET
        self._held, self._held_scores, self._held_frames = [], [], 0
        if self._forecasts:
            head = self._head("forecast", self._held_until, time_ns)
            shape: dict[str, Any] = {"channels": self._channels, "horizon": self._horizon, "frames": frames}
            yield ForecastMessage(**head, **shape, values=values, scores=scores)
        else:
            head = self._head("posteriors", self._held_until, time_ns)
            yield PosteriorsMessage(**head, labels=self._labels, frames=frames, values=values)

    def status(self, position: int, time_ns: int, **figures: Any) -> StatusMessage:
        """A heartbeat; `figures` are the fields of `StatusMessage`."""
        return StatusMessage(**self._head("status", position, time_ns), **figures)

    def _hold(self, event: Posteriors | Forecasts, at_ns: int) -> Iterator[Message]:
        if isinstance(event, Forecasts) and event.scores is not None:
            self._held_scores.append(event.scores.astype("<f4", copy=False).tobytes())
        self._held.append(event.values.astype("<f4", copy=False).tobytes())  # a view would keep a whole batch
        self._held_until = event.position
        self._held_frames += len(event.values)
        if self._held_frames >= self._frames_per_message:
            yield from self.flush(at_ns)

    def _detection(self, event: Detection, at_ns: int) -> DetectionMessage:
        return DetectionMessage(
            **self._head("detection", event.position, at_ns),
            id=event.id,
            label=event.label,
            phase=event.phase,
            confidence=event.confidence,
            **self._since_onset(event, at_ns),
        )

    def _anomaly(self, event: Anomaly, at_ns: int) -> AnomalyMessage:
        head = self._head("anomaly", event.position, at_ns)
        since = self._since_onset(event, at_ns)
        return AnomalyMessage(**head, id=event.id, phase=event.phase, score=event.score, **since)

    def _since_onset(self, event: Detection | Anomaly, at_ns: int) -> dict[str, Any]:
        onset_ns = at_ns - round((event.position - event.onset) * self._ns_per_sample)
        told_ns = self._now_ns() if self._now_ns else at_ns
        return {"onset_ns": onset_ns, "latency_ms": round((told_ns - onset_ns) / 1e6, 3)}

    def _head(self, kind: Kind, position: int, time_ns: int) -> dict[str, Any]:
        seq = self._seq[kind]
        self._seq[kind] = seq + 1
        return {
            "boot": self._boot,
            "seq": seq,
            "stream": self.stream,
            "model": self._model,
            "time_ns": time_ns,
            "position": position,
        }
