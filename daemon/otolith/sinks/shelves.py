"""Shelves: where segments stand, a folder a stream, and which have to go: by age, by minutes a stream, by quota."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from otolith.sinks.segment import FINISHED, LOG, RAW, read_opening

MODELS = "models"
TRIAL = ".trial"
LONGEST_NAME_BYTES = 200
SUFFIXES = (LOG, RAW, ".new", *FINISHED)


@dataclass(frozen=True, slots=True)
class Standing:
    """A segment's files. `name` is the time it began, in nanoseconds, so that names sort by age."""

    folder: Path
    name: str
    bytes: int
    written_s: float  # when anything was written of it last

    @property
    def log(self) -> Path:
        return self.folder / (self.name + LOG)

    def remove(self) -> int:
        """Its files go, the log first; how many bytes that were."""
        self.log.unlink(missing_ok=True)
        for path in self.folder.glob(f"{self.name}.*"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()  # where it was the last
        return self.bytes


def folder_of(root: Path, stream: str) -> Path:
    """A stream's folder: its name, where that may be a folder's."""
    encoded = os.fsencode(stream)
    if not stream.strip(".") or stream == MODELS:
        return root / f"{stream}_"
    if len(encoded) > LONGEST_NAME_BYTES:
        return root / hashlib.sha256(encoded).hexdigest()
    return root / stream


def stream_of(each: Standing) -> str:
    """Whose segment it is: by its folder, and by what it says itself where the stream's name could be no folder's."""
    name = each.folder.name
    if not name.endswith("_") and len(name) != len(hashlib.sha256().hexdigest()):
        return name
    opening = read_opening(each.log)
    return name if opening is None else opening.stream


def segments(root: Path, stream: str | None = None) -> list[Standing]:
    """All there are below a recorder's folder, or a stream's in it; the oldest first."""
    folders = [folder_of(root, stream)] if stream is not None else _folders(root)
    return sorted((each for folder in folders for each in _in(folder)), key=lambda each: int(each.name))


def _folders(root: Path) -> list[Path]:
    with suppress(OSError):
        return [path for path in root.iterdir() if path.is_dir() and not path.is_symlink() and path.name != MODELS]
    return []


def _in(folder: Path) -> Iterator[Standing]:
    sizes: dict[str, tuple[int, float]] = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name, _, suffix = entry.name.partition(".")
            if name.isdecimal() and f".{suffix}" in SUFFIXES and entry.is_file(follow_symlinks=False):
                told = entry.stat(follow_symlinks=False)
                bytes_, written_s = sizes.get(name, (0, 0.0))
                sizes[name] = bytes_ + told.st_size, max(written_s, told.st_mtime)
    return (Standing(folder, name, *each) for name, each in sizes.items())


def outdated(standing: list[Standing], minutes: float, days: float, now_s: float) -> list[Standing]:
    """Those that lie wholly before the last `minutes` of their stream, or `days` back."""
    newest: dict[Path, float] = {}
    for each in standing:
        newest[each.folder] = max(newest.get(each.folder, 0.0), each.written_s)
    return [
        each
        for each in standing
        if each.written_s < newest[each.folder] - minutes * 60 or each.written_s < now_s - days * 86_400
    ]


def remove_until(standing: list[Standing], excess: int, may_go: Callable[[Standing], bool]) -> int:
    """Remove the oldest that may go until `excess` bytes have; how many that were."""
    freed = 0
    for each in standing:
        if freed >= excess:
            break
        if may_go(each):
            freed += each.remove()
    return freed


def remove_models(root: Path, standing: list[Standing]) -> None:
    """Copies of models go that no segment is of: each segment touches its own when it begins."""
    oldest_s = min((int(each.name) / 1e9 for each in standing), default=time.time())
    with suppress(OSError):
        for path in (root / MODELS).glob("*.onnx"):
            if path.stat().st_mtime < oldest_s - 60:
                path.unlink(missing_ok=True)


def try_out(root: Path) -> None:
    """Write a file there and remove it. Raises `OSError` where a segment could not be written either."""
    path = root / TRIAL
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(bytes(4096))
    path.unlink()
