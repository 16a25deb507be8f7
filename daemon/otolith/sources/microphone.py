"""A microphone, through PortAudio.

The device is opened at its native rate (the listener resamples) and PortAudio's callback only copies. A device that
vanishes says nothing: no exception, no status; so the age of the last block is what is watched.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from threading import Condition, Event
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.errors import SourceError
from otolith.sources.source import Block, Source, Spec, Wanted

BLOCK_MS = 40
STALLED_S = 2.0
HELD_BLOCKS = 256
OVERFLOW = "microphone overflow"


def open_microphone(spec: Spec, wanted: Wanted) -> Source:
    """`microphone:[NAME][?block_ms=40&rate=HZ]`; NAME is a part of the device's name, the default device without one.

    The device's own rate is opened unless `rate` asks for another, which the sound server then converts to.
    """
    spec.allow("block_ms", "rate")
    if wanted.kind != "audio":
        raise SourceError(f"source {spec.text!r}: the model takes {wanted.kind} rows; give it a recording: or a pipe:")
    rate = spec.whole("rate", 0, 0, 1_000_000)
    return Microphone(spec.target, spec.whole("block_ms", BLOCK_MS, 5, 1000), rate)


def portaudio() -> ModuleType:
    """The sounddevice module. Raises `SourceError` where PortAudio is not installed."""
    try:
        import sounddevice
    except OSError:
        raise SourceError(
            "microphone: PortAudio is not installed; apt-get install libportaudio2, or use recording: or pipe:"
        ) from None
    module: ModuleType = sounddevice
    return module


class Microphone:
    """One input device, opened when its blocks are asked for."""

    live = True

    def __init__(self, name: str, block_ms: int = BLOCK_MS, rate: int = 0) -> None:
        self._audio = portaudio()
        self._device = self._find(name)
        self._label = str(self._device["name"])
        self.rate = float(rate or self._device["default_samplerate"])
        self._block_length = round(self.rate * block_ms / 1000)
        self._held: deque[Block] = deque()
        self._arrived = Condition()
        self._lost = 0
        self._ended = False

    def blocks(self, stop: Event) -> Iterator[Block]:
        """As `Source.blocks`. Raises `SourceError` when the device cannot be opened, vanishes or falls silent."""
        try:
            stream = self._audio.InputStream(
                device=self._device["index"],
                samplerate=self.rate,
                channels=1,
                dtype="int16",
                blocksize=self._block_length,
                callback=self._copy,
                finished_callback=self._end,
            )
            stream.start()
        except self._audio.PortAudioError as error:
            raise SourceError(
                f"microphone {self._label!r}: cannot be opened ({error.args[0]}); "
                "is it in use by another program? `otolith devices` lists what there is"
            ) from None
        try:
            while not stop.is_set():
                if block := self._next():
                    yield block
        finally:
            stream.abort()
            stream.close()

    def _next(self) -> Block | None:
        """The oldest held block; None after a moment, so that `stop` is looked at."""
        waited_since = time.monotonic()
        with self._arrived:
            while not self._held:
                if self._ended:
                    raise SourceError(f"microphone {self._label!r}: vanished; plug it in again and restart")
                if time.monotonic() - waited_since > STALLED_S:
                    raise SourceError(f"microphone {self._label!r}: gave nothing for {STALLED_S:g} s; it hangs")
                self._arrived.wait(0.2)
            return self._held.popleft()

    def _copy(self, data: NDArray[np.int16], samples: int, _when: Any, status: Any) -> None:
        # PortAudio calls this from its own thread: copy, hand over, leave.
        now_ns = time.time_ns()
        with self._arrived:
            lost, self._lost = self._lost + (1 if status.input_overflow else 0), 0
            if len(self._held) >= HELD_BLOCKS:
                self._lost = lost + samples
                return
            self._held.append(Block(data[:, 0].copy(), now_ns, lost, OVERFLOW if lost else ""))
            self._arrived.notify()

    def _end(self) -> None:
        with self._arrived:
            self._ended = True
            self._arrived.notify()

    def _find(self, name: str) -> dict[str, Any]:
        """The device whose name holds `name`; an exact name goes first."""
        devices = input_devices(self._audio)
        if not devices:
            raise SourceError("microphone: there is no input device; plug one in, or use recording: or pipe:")
        if not name:
            default = self._audio.default.device[0]
            return next((d for d in devices if d["index"] == default), devices[0])
        found = [d for d in devices if d["name"] == name] or [d for d in devices if name.lower() in d["name"].lower()]
        if not found:
            raise SourceError(
                f"microphone {name!r}: no such device; there are {', '.join(repr(d['name']) for d in devices)}"
            )
        return found[0]


def input_devices(audio: ModuleType) -> list[dict[str, Any]]:
    """What can be listened to: PortAudio's devices with at least one input."""
    return [dict(device) for device in audio.query_devices() if device["max_input_channels"] > 0]
