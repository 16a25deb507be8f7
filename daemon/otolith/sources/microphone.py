"""A microphone, through PortAudio.

The device is opened at its native rate (the listener resamples) and PortAudio's callback only copies. A device that
vanishes says nothing: no exception, no status; so the age of the last block is what is watched.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from threading import Condition, Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.errors import DeviceHangsError, SourceError, UsageError
from otolith.sources.portaudio import Device, PortAudio
from otolith.sources.returning import Returning
from otolith.sources.shortfall import Shortfall
from otolith.sources.source import Block, Source, Spec, Wanted

BLOCK_MS = 40
STALLED_S = 1.5
HELD_BLOCKS = 256
OVERFLOW = "microphone overflow"


def open_microphone(spec: Spec, wanted: Wanted, *, waits: bool = False) -> Source:
    """`microphone:[NAME][?block_ms=40&rate=HZ]`; NAME is a part of the device's name, the default device without one.

    The device's own rate is opened unless `rate` asks for another, which the sound server then converts to. It is
    opened again whenever it fails; with `waits` it may be missing at first.
    """
    spec.allow("block_ms", "rate")
    if wanted.kind != "audio":
        raise UsageError(f"source {spec.text!r}: the model takes {wanted.kind} rows; give it a recording: or a pipe:")
    rate, block_ms = spec.whole("rate", 0, 0, 1_000_000), spec.whole("block_ms", BLOCK_MS, 5, 1000)
    audio = PortAudio()
    return Returning(
        lambda: Microphone(audio, spec.target, block_ms, rate), rate or wanted.sample_rate, waits=waits, tells=True
    )


class Microphone:
    """One input device, opened when its blocks are asked for. Raises `SourceError` where there is none of that name."""

    live = True

    def __init__(self, audio: PortAudio, name: str, block_ms: int = BLOCK_MS, rate: int = 0) -> None:
        self._audio = audio
        self._device = find_device(audio.inputs(), name)
        self._label = f"microphone {self._device['name']!r}"
        self.rate = float(rate or self._device["default_samplerate"])
        self._block_length = round(self.rate * block_ms / 1000)
        self._held: deque[Block] = deque()
        self._arrived = Condition()
        self._lost = 0
        self._due_s = 0.0  # when the next block begins, by the device's own clock
        self._shortfall = Shortfall(self.rate)
        self._is_stalled = self._ended = False

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`. A device that gives nothing is told of by a block without samples, and given up behind
        that. Raises `SourceError` when it cannot be opened, vanishes or was given up.
        """
        stream = self._open()
        try:
            while not stop.is_set():
                yield self._next()
        finally:
            try:
                self._audio.close(stream)
            except DeviceHangsError as error:
                raise DeviceHangsError(f"{self._label}: {error}") from None

    def _open(self) -> Any:
        try:
            return self._audio.open(
                device=self._device["index"],
                samplerate=self.rate,
                channels=1,
                dtype="int16",
                blocksize=self._block_length,
                callback=self._copy,
                finished_callback=self._end,
            )
        except SourceError as error:
            raise type(error)(
                f"{self._label}: cannot be opened ({error}); is it in use by another program? "
                "`otolith devices` lists what there is"
            ) from None

    def _next(self) -> Block:
        """The oldest held block, or that there is none."""
        waited_since = time.monotonic()
        with self._arrived:
            while not self._held:
                if self._ended:
                    raise SourceError(f"{self._label}: vanished")
                if time.monotonic() - waited_since > STALLED_S:
                    return self._stalled()
                self._arrived.wait(0.2)
            self._is_stalled = False
            return self._held.popleft()

    def _stalled(self) -> Block:
        """Tell it first: one that hangs may never come back from being closed."""
        reason = f"{self._label}: stalled"
        if self._is_stalled:
            raise SourceError(reason)
        self._is_stalled = True
        return Block(np.empty(0, np.int16), time.time_ns(), 0, reason)

    def _copy(self, data: NDArray[np.int16], samples: int, when: Any, status: Any) -> None:
        # PortAudio calls this from its own thread: copy, hand over, leave.
        now_ns, now_s, began_s = time.time_ns(), time.monotonic(), float(when.inputBufferAdcTime)
        with self._arrived:
            lost, self._lost = self._lost, 0
            told = 0
            if status.input_overflow:  # it says that samples are missing, its clock how many
                told = max(1, round((began_s - self._due_s) * self.rate))
            lost += told + self._shortfall.missing(now_s, told + samples)  # a sound server says nothing
            self._due_s = began_s + samples / self.rate
            if len(self._held) >= HELD_BLOCKS:
                self._lost = lost + samples
                return
            self._held.append(Block(data[:, 0].copy(), now_ns, lost, OVERFLOW if lost else ""))
            self._arrived.notify()

    def _end(self) -> None:
        with self._arrived:
            self._ended = True
            self._arrived.notify()


def find_device(devices: list[Device], name: str) -> Device:
    """The device whose name holds `name`, an exact name first; without a name the first. Raises `SourceError`."""
    if not devices:
        raise SourceError("microphone: there is no input device; plug one in, or use recording: or pipe:")
    exact = [device for device in devices if device["name"] == name]
    found = exact or [device for device in devices if name.lower() in device["name"].lower()]
    if not found:
        names = ", ".join(repr(device["name"]) for device in devices)
        raise SourceError(f"microphone {name!r}: no such device; there are {names}")
    return found[0]
