"""PortAudio, one for the whole process: found, asked for devices, and handed out one stream at a time.

It looks for devices only when it begins, so it is begun anew where none of them is open; and a device that hangs makes
every call hang, so calls are made in threads that can be left behind.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from threading import Lock, Thread
from types import ModuleType
from typing import Any, TypeVar

from otolith.errors import DeviceHangsError, SourceError

HANGS_S = 5.0  # a device that takes longer to be opened or closed will take for ever

T = TypeVar("T")
Device = dict[str, Any]  # as `sounddevice.query_devices` tells it


class PortAudio:
    """The library. Raises `SourceError` where it is not installed, `DeviceHangsError` where it looks for devices, as it
    does at once, and one of them hangs.
    """

    _lock = Lock()
    _streams = 0  # open ones, in the whole process

    def __init__(self) -> None:
        try:
            self._module = look(_load)
        except OSError:
            raise SourceError(
                "microphone: PortAudio is not installed; apt-get install libportaudio2, or use recording: or pipe:"
            ) from None

    def inputs(self) -> list[Device]:
        """What can be listened to, the default first. Raises `DeviceHangsError`."""
        return look(self._look)

    def open(self, **settings: Any) -> Any:
        """A started `sounddevice.InputStream`. Raises `SourceError` where it cannot be opened, `DeviceHangsError`."""
        return within(HANGS_S, lambda: self._start(settings))

    def close(self, stream: Any) -> None:
        """Let a stream go. Raises `DeviceHangsError`."""
        within(HANGS_S, lambda: self._stop(stream))

    def _look(self) -> list[Device]:
        with PortAudio._lock:
            if not PortAudio._streams:  # or those would be closed
                self._module._terminate()
                self._module._initialize()
            default = self._module.default.device[0]
            found = [dict(device) for device in self._module.query_devices() if device["max_input_channels"] > 0]
        return sorted(found, key=lambda device: bool(device["index"] != default))

    def _start(self, settings: dict[str, Any]) -> Any:
        with PortAudio._lock:
            try:
                stream = self._module.InputStream(**settings)
                stream.start()
            except self._module.PortAudioError as error:
                raise SourceError(str(error.args[0])) from None
            PortAudio._streams += 1
        return stream

    def _stop(self, stream: Any) -> None:
        with PortAudio._lock:
            stream.abort(ignore_errors=True)
            stream.close(ignore_errors=True)
            PortAudio._streams -= 1


def _load() -> ModuleType:
    import sounddevice

    if leave := getattr(sounddevice, "_exit_handler", None):
        atexit.unregister(leave)  # it would wait for ever for a device that hangs; the system closes what is open
    module: ModuleType = sounddevice
    return module


def look(work: Callable[[], T]) -> T:
    """Do what begins PortAudio, `within` its time: it silences standard error, where we may have to say so."""
    said = os.dup(2)
    try:
        return within(HANGS_S, work)
    except DeviceHangsError as error:
        os.dup2(said, 2)
        raise DeviceHangsError(f"microphone: {error}") from None
    finally:
        os.close(said)


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises; `DeviceHangsError` where it has not after so long, and is left behind."""
    done: list[T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            failed.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise DeviceHangsError(f"it has not answered for {seconds:g} s and cannot be let go; start again without it")
    return done[0]
