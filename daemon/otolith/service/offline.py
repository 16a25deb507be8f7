"""Recordings without a daemon: the same listener, as fast as it goes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from threading import Event

from otolith.errors import RecordingError, SettingsError
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.service.listener import Listener, check_rate
from otolith.sources.recording import read_recording
from otolith.wire.messages import Kind, Message, kind_of
from otolith.wire.scribe import Scribe

BOOT = "recording"


def listen_to(file: str, model: Model, kinds: Collection[Kind]) -> Iterator[Message]:
    """Messages of one recording, with times counted from its start. Raises `RecordingError`."""
    source = read_recording(Path(file), model.card, paced=False, start_ns=0)
    try:
        check_rate(model.card, source.rate, resample=True, where=file)
    except SettingsError as error:
        raise RecordingError(str(error)) from None
    listener = Listener(Stream(model), source.rate, Scribe(BOOT, Path(file).stem, model))
    for block in source.blocks(Event()):
        yield from (message for message in listener.take(block) if kind_of(message) in kinds)
    yield from (message for message in listener.close() if kind_of(message) in kinds)
