"""Decoded sound, kept in the user's cache: a recording is decoded and resampled once, and again when it has changed.

A set's samples lie in one file and its index in another, in `$XDG_CACHE_HOME/otolith/decoded/`. What is looked up is
the content's fingerprint: a changed file is decoded anew whatever its time says, a moved or repeated one is not. The
files may be deleted at any time; whatever cannot be read, or is not what was written, is decoded again.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from otolith.recordings import load_audio

Floats = NDArray[np.float32]
Item = TypeVar("Item")
Read = TypeVar("Read")

MOST_BYTES = 4 << 30  # of a set that is kept: 18 hours at 16 kHz; a larger one is decoded each time


class Place(msgspec.Struct, frozen=True):
    """Where a recording's samples stand in the file of its set."""

    first: int
    count: int
    check: int  # crc32 of them


class Index(msgspec.Struct, frozen=True):
    """What a set's file holds, by fingerprint."""

    decoder: str
    places: dict[str, Place]


def load_decoded(paths: Sequence[Path], rate: int, name: str) -> list[Floats]:
    """The sound of `paths`, mono samples `(n,)` at `rate` Hz each, from the cache of the set `name` where it can be.

    A path that is named twice gives one array. Raises `RecordingError`.
    """
    once = list(dict.fromkeys(paths))
    prints = dict(zip(once, each(_fingerprint, once), strict=True))
    kept = _keeping_place(name, rate)
    sounds = _read(kept, set(prints.values()))
    missing = {found: path for path, found in prints.items() if found not in sounds}
    if missing:
        decoded = each(partial(load_audio, rate=rate), list(missing.values()))
        sounds |= zip(missing, decoded, strict=True)
        with suppress(OSError):  # a cache that cannot be written costs time, nothing else
            _write(kept, sounds)
    return [sounds[prints[path]] for path in paths]


def each(load: Callable[[Item], Read], items: Sequence[Item]) -> list[Read]:
    """Load all, a few at a time, in order: reading and decoding release Python's lock."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(load, items))


def cache_folder() -> Path:
    """Where what can be made again is kept for the user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otolith"


def _keeping_place(name: str, rate: int) -> Path:
    digest = hashlib.sha256(f"{name} {rate}".encode()).hexdigest()[:16]
    return cache_folder() / "decoded" / f"{digest}.json"


def _fingerprint(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return str(path)  # decoding says what is wrong with it


def _read(kept: Path, wanted: set[str]) -> dict[str, Floats]:
    """What of `wanted` is kept, and is what was written."""
    sounds = {}
    with suppress(OSError, ValueError, msgspec.DecodeError):  # ValueError: an empty file
        index = msgspec.json.decode(kept.read_bytes(), type=Index)
        if index.decoder != _decoder():
            return {}
        samples = np.memmap(kept.with_suffix(".f32"), np.float32, "r")
        for found in wanted & index.places.keys():
            place = index.places[found]
            sound: Floats = np.array(samples[place.first : place.first + place.count])
            if zlib.crc32(sound.data) == place.check:
                sounds[found] = sound
    return sounds


def _write(kept: Path, sounds: Mapping[str, Floats]) -> None:
    """Keep a set: its samples, then its index. In between, or cut off, each sound's checksum tells what is not its."""
    if sum(sound.nbytes for sound in sounds.values()) > MOST_BYTES:
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    places, first = {}, 0
    beside = kept.with_suffix(f".{os.getpid()}.part")
    with beside.open("wb") as file:
        for found, sound in sounds.items():
            places[found] = Place(first, len(sound), zlib.crc32(sound.data))
            file.write(np.ascontiguousarray(sound).data)
            first += len(sound)
    beside.replace(kept.with_suffix(".f32"))
    beside.write_bytes(msgspec.json.encode(Index(_decoder(), places)))
    beside.replace(kept)


def _decoder() -> str:
    """What decoded: other versions may give other samples."""
    import soundfile
    import soxr

    return f"{soundfile.__libsndfile_version__}, soxr {soxr.__version__}"
