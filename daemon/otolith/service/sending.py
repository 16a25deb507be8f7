"""Sending: a source's blocks go to a daemon that listens elsewhere, at the pace at which they were made."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event

import msgspec

from otolith.errors import UsageError, WireError
from otolith.inference.card import Channel
from otolith.sources.open import open_source
from otolith.sources.source import Block, Source, Spec
from otolith.wire.block import Kind
from otolith.wire.producer import Producer

PIPE_RATE = 16000.0  # of a pipe that does not say
PIECE_S = 0.08
HASTE = 1.1  # what can wait goes a tenth faster than real time at most: a sound card's clock may be ahead of ours
BURST_S = 0.5
PATIENCE_S = 10.0
LOOK_S = 0.2
IS_THERE_ONE = "is a daemon running, with [ingest] in its settings?"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Form:
    """What `otolith send` wants of a source, in place of a model's card."""

    kind: Kind
    sample_rate: float
    channels: tuple[Channel, ...]
    tokens: msgspec.UnsetType = msgspec.UNSET  # text is not sent

    @property
    def width(self) -> int:
        """How many columns a block has; sound is mono by now."""
        return len(self.channels) if self.kind == "sensor" else 1


def form_of(channels: Sequence[str], rows_per_s: float | None) -> Form:
    """Sound, or rows of the named channels. Raises `UsageError`."""
    if not channels:
        if rows_per_s is not None:
            raise UsageError("--rate is that of rows; write pipe:?rate=HZ for sound, or name the --channels")
        return Form("audio", PIPE_RATE, ())
    names = [name.strip() for name in channels]
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(f"--channels {','.join(channels)}: name each once, as in acc_x,acc_y,acc_z")
    return Form("sensor", rows_per_s or 0.0, tuple(Channel(name, "") for name in names))


def open_for(spec: Spec, form: Form) -> Source:
    """The source that `spec` names, at its own pace. Raises as `open_source`, and `UsageError`."""
    if spec.options.get("pace") == "none":
        raise UsageError(
            f"source {spec.text!r}: a daemon listens in real time; leave out pace=none, or use otolith infer"
        )
    source = open_source(spec, form)
    if not source.rate:
        raise UsageError(f"source {spec.text!r}: does not say how many rows a second it has; add --rate")
    return source


def send(source: Source, producer: Producer, stop: Event) -> None:
    """Push a source's blocks until they end or `stop` is set, and say goodbye.

    A live source's samples are lost while the daemon is away; others wait for it. Raises `WireError` where no daemon
    took them, and what ended the source.
    """
    try:
        _push_all(source, producer, stop)
    finally:
        is_taken = producer.close()
        if producer.lost:
            log.warning("%d samples were lost: nobody took them in time", producer.lost)
    if producer.pushed and not is_taken:
        raise WireError(f"{producer.endpoint}: no daemon said that it took everything; {IS_THERE_ONE}")


def _push_all(source: Source, producer: Producer, stop: Event) -> None:
    pace = _Pace(producer.rate, stop)
    is_told = False
    for block in source.blocks(stop):
        if source.live:
            producer.push(block.samples, time_ns=block.time_ns, lost=block.lost)
        else:
            _push_paced(block, producer, pace, stop)
        if producer.lost and not is_told:
            log.warning("%s: nobody takes the blocks; the oldest are lost until a daemon does", producer.endpoint)
            is_told = True


def _push_paced(block: Block, producer: Producer, pace: _Pace, stop: Event) -> None:
    """Push a block piece by piece, none before its time and none before the last was taken."""
    length = max(1, round(PIECE_S * producer.rate))
    for start in range(0, max(1, len(block.samples)), length):
        piece = block.samples[start : start + length]
        pace.reach(len(piece))
        producer.push(piece, lost=0 if start else block.lost)
        _wait_for(producer, stop)
        if stop.is_set():
            break


def _wait_for(producer: Producer, stop: Event) -> None:
    """Until the daemon has taken what was pushed. Raises `WireError` where there is none for ten seconds."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not producer.wait(LOOK_S) and not stop.is_set():
        if time.monotonic() > deadline_s:
            raise WireError(f"{producer.endpoint}: nobody takes blocks there; {IS_THERE_ONE}")


class _Pace:
    """Keeps what can wait from running ahead of real time."""

    def __init__(self, rate: float, stop: Event) -> None:
        self._rate, self._stop = rate * HASTE, stop
        self._due_s = 0.0

    def reach(self, length: int) -> None:
        """Wait until `length` more samples may go."""
        now_s = time.monotonic()
        self._due_s = max(self._due_s, now_s - BURST_S) + length / self._rate
        if self._due_s > now_s:
            self._stop.wait(self._due_s - now_s)
