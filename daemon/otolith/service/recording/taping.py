"""Taping: what the loop hands a recorder, and where segments begin: each with the stream as it stands then."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import numpy as np

from otolith.errors import OtolithError
from otolith.inference.engine import Seat
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.service.keeping.checkpoint import Checkpoint, collect, encode
from otolith.service.keeping.resumption import Resumption
from otolith.service.listener import Listener
from otolith.settings import RecorderSettings
from otolith.sinks.archive import Begin
from otolith.sinks.recorder import Recorder
from otolith.sinks.segment import Ending, Heard, Opening
from otolith.sinks.shelves import MODELS
from otolith.sources.source import Block
from otolith.trial import open_model

BEFORE = b"otolith tape 1\n"
GOLDEN = (math.sqrt(5) - 1) / 2  # as heartbeats are spread

log = logging.getLogger(__name__)


class Before(msgspec.Struct, array_like=True, frozen=True):
    """A stream where a segment begins."""

    checkpoint: Checkpoint
    resumption: Resumption | None
    source_rate: float


@dataclass(slots=True)
class Tape:
    """One stream's open segment: whose it is, and how many samples it may still take."""

    seat: Seat | Stream | None = None
    dtype: np.dtype[np.generic] | None = None
    left: int = 0
    is_wanted: bool = True
    share: float = 1.0  # of a segment's length, that the next one has


class Taping:
    """All of it in the loop's thread. `models` are open, by path."""

    def __init__(
        self, recorder: Recorder, settings: RecorderSettings, boot: str, models: Callable[[], Mapping[str, Model]]
    ) -> None:
        self.recorder, self._settings, self._boot = recorder, settings, boot
        self._models = models
        self._tapes: dict[str, Tape] = {}
        self._begun = 0

    def hear(self, name: str, listener: Listener, block: Block) -> None:
        """Record a block that `listener` is about to take."""
        tape = self._tapes.get(name)
        if tape is None:
            tape = self._tapes[name] = self._new_tape(name)
        if not tape.is_wanted:
            return
        recorder = self.recorder
        is_open, dtype = recorder.is_open(name), block.samples.dtype
        is_same = tape.seat is listener.stream and (dtype == tape.dtype or not len(block.samples))
        if not (is_open and is_same and tape.left > 0):
            if not recorder.has_room:
                recorder.miss(name, len(block.samples))
                return
            how: Ending = "broken" if not is_open else "changed" if tape.seat is not listener.stream else "goes on"
            self._begin(name, listener, block, tape, how)
        tape.left -= max(1, len(block.samples))
        heard = Heard(len(block.samples), block.time_ns, block.lost, block.reason, block.rate, block.ends)
        recorder.hear(name, heard, block.samples)

    def _new_tape(self, name: str) -> Tape:
        """The first segments of many streams that came together are of different lengths, so that they end apart."""
        self._begun += 1
        share = 0.25 + 0.75 * (self._begun * GOLDEN % 1)
        return Tape(is_wanted=any(fnmatchcase(name, pattern) for pattern in self._settings.streams), share=share)

    def end(self, name: str, how: Ending) -> None:
        """The stream is over."""
        self._tapes.pop(name, None)
        self.recorder.end(name, how)

    def close(self) -> None:
        """No more comes."""
        self.recorder.close()

    def _begin(self, name: str, listener: Listener, block: Block, tape: Tape, how: Ending) -> None:
        rate = block.rate or listener.source_rate
        tape.seat, tape.dtype = listener.stream, block.samples.dtype
        tape.left = max(1, round(tape.share * self._settings.segment_s * (rate or 1.0)))
        tape.share = 1.0
        checkpoint = collect([(name, listener)], with_unheard=True)
        before = Before(checkpoint, listener.resumption, listener.source_rate)
        model, seat = listener.stream.model, listener.stream
        card = model.card
        triggers = seat.detector.triggers if isinstance(seat, Seat) else {}
        path = next((path for path, each in self._models().items() if each.digest == model.digest), "")

        def make(follows: str, missed: int) -> Opening:
            keep_model(self.recorder.root, model.digest, path)
            return Opening(
                stream=name,
                boot=self._boot,
                model=model.identity,
                digest=model.digest,
                kind=card.kind,
                rate=rate,
                dtype=block.samples.dtype.newbyteorder("<").str,
                width=len(card.channels) if card.kind == "sensor" else 0,
                posteriors_per_s=listener.posteriors_per_s,
                triggers=triggers,
                before=encode(before, BEFORE),
                follows=follows,
                missed=missed,
            )

        self.recorder.begin(name, Begin(make, how, self.recorder.take_missed(name)))


def keep_model(root: Path, digest: str, path: str) -> None:
    """A copy of the model beside what it heard, for the file itself may be another by then. Raises `OSError`."""
    copy = root / MODELS / f"{digest}.onnx"
    if copy.exists():
        os.utime(copy)
        return
    if not path:
        return
    with suppress(FileNotFoundError):
        content = Path(path).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            log.warning("recorder: model %s has changed since it was opened; no copy of it is kept", path)
            return
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = copy.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
        beside.rename(copy)


def find_model(folder: Path, digest: str) -> Model:
    """The copy of a model that heard what is recorded in `folder` or beside it. Raises `OtolithError`."""
    for place in (folder, folder.parent):
        if (path := place / MODELS / f"{digest}.onnx").exists():
            return open_model(path)
    raise OtolithError(f"{folder}: no copy of the model {digest[:12]} is there; name it with --model")
