"""Replay: a recording is heard again, from the state that each stretch of it began with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from otolith.errors import OtolithError, RecordingError, WireError
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.service.keeping.checkpoint import CheckpointError, decode_as, spread
from otolith.service.listener import Listener, check_rate
from otolith.service.recording.taping import BEFORE, Before, find_model
from otolith.sinks.segment import Ending, Recorded, read_segment
from otolith.sinks.shelves import segments
from otolith.sources.source import Block
from otolith.wire.messages import AnyMessage, Message, decode_payload
from otolith.wire.scribe import Scribe


@dataclass(slots=True)
class Stretch:
    """Segments of one stream that follow one another without a hole."""

    segments: list[Recorded] = field(default_factory=list)

    @property
    def first(self) -> Recorded:
        return self.segments[0]

    @property
    def how(self) -> Ending:
        """It ended."""
        return self.segments[-1].how

    def told(self) -> list[AnyMessage]:
        """What was published of it, by the model that it is of."""
        messages = [decode_payload(payload) for segment in self.segments for payload in segment.told]
        return [message for message in messages if message.model == self.first.opening.model]


def read_stretches(folder: Path, stream: str | None = None) -> Iterator[Stretch]:
    """What is recorded below `folder` (a recorder's, or one stream's), the oldest of each stream first.

    One stretch is held at a time. Raises `RecordingError`.
    """
    by_stream: dict[Path, list[Path]] = {}
    found = segments(folder) or segments(folder.parent, folder.name)
    for each in found:
        by_stream.setdefault(each.folder, []).append(each.log)
    if not by_stream:
        raise RecordingError(f"{folder}: nothing is recorded there; name the folder of [recorder]")
    for logs in by_stream.values():
        yield from _stretches_of(logs, stream)


def _stretches_of(logs: list[Path], stream: str | None) -> Iterator[Stretch]:
    stretch = Stretch()
    for log in logs:
        if not log.exists():
            continue  # it was removed in the meantime, or nothing but its samples is left
        try:
            segment = read_segment(log)
        except RecordingError:
            continue  # cut off before it began
        if stream is not None and segment.opening.stream != stream:
            continue
        before = stretch.segments[-1] if stretch.segments else None
        if before is not None and not (before.how == "goes on" and segment.opening.follows == before.log.stem):
            yield stretch
            stretch = Stretch()
        stretch.segments.append(segment)
    if stretch.segments:
        yield stretch


def replay(stretch: Stretch, other: Model | None = None, model: Model | None = None) -> Iterator[Message]:
    """What the model that heard it says of it again; or what another would have said, from a fresh state.

    Raises `OtolithError` where the model is not there, or cannot hear what is recorded.
    """
    opening = stretch.first.opening
    model = other or model or find_model(stretch.first.log.parent, opening.digest)
    listener, messages = _listener(stretch, model)
    yield from messages
    for segment in stretch.segments:
        for heard, samples in segment.blocks():
            block = Block(samples, heard.time_ns, heard.lost, heard.reason, heard.rate, heard.ends)
            yield from listener.take(block)
    if stretch.how == "ended" or model.digest != opening.digest:
        yield from listener.close()
    elif stretch.how == "suspended":
        yield from listener.suspend()


def _listener(stretch: Stretch, model: Model) -> tuple[Listener, list[Message]]:
    """Whoever hears the stretch, and what it has to say before."""
    opening, path = stretch.first.opening, stretch.first.log
    try:
        before = decode_as(Before, opening.before, BEFORE)
    except CheckpointError as error:
        raise RecordingError(f"{path}: the state that it begins with {error}") from None
    is_same = model.digest == opening.digest
    if not is_same:
        _check(stretch, model)
    rate = before.source_rate
    scribe = Scribe(opening.boot, opening.stream, model, posteriors_per_s=opening.posteriors_per_s)
    listener = Listener(Stream(model, opening.triggers if is_same else None), rate, scribe)
    kept = spread(before.checkpoint).get(opening.stream)
    if not is_same or kept is None:
        return listener, []
    return listener, listener.resume(kept, before.resumption, with_numbers=True)


def _check(stretch: Stretch, model: Model) -> None:
    opening, card, path = stretch.first.opening, model.card, stretch.first.log.parent
    if card.kind != opening.kind:
        raise OtolithError(f"{path}: holds {opening.kind}, the model takes {card.kind}")
    if opening.width and opening.width != len(card.channels):
        raise OtolithError(f"{path}: has {opening.width} channels, the model takes {len(card.channels)}")
    check_rate(card, opening.rate, resample=True, where=str(path))


def read_told(stretch: Stretch) -> list[AnyMessage]:
    """What was published. Raises `RecordingError`."""
    try:
        return stretch.told()
    except WireError as error:
        raise RecordingError(f"{stretch.first.log}: {error}") from None
