"""Forgetting: which recordings and states somebody wants removed, and their removal."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from otolith.errors import OtolithError
from otolith.service.keeping.checkpoint import CheckpointError, Group, decode, encode, spread
from otolith.service.keeping.disk import replace_file
from otolith.service.keeping.estate import SUFFIX
from otolith.service.keeping.keeper import LOCK
from otolith.sinks.segment import read_opening
from otolith.sinks.shelves import MODELS, Standing, remove_models, segments


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be forgotten: in which folders, of which stream (None: of all), written before which moment."""

    recordings: Path | None
    state: Path | None
    stream: str | None
    before_s: float

    @property
    def is_all(self) -> bool:
        return self.stream is None and self.before_s == float("inf")


@dataclass(slots=True)
class Found:
    """What a wish is about; empty where there is nothing."""

    wish: Wish
    segments: list[tuple[str, Standing]] = field(default_factory=list)
    states: list[tuple[Path, list[str]]] = field(default_factory=list)  # a file, and the streams to go from it

    def __bool__(self) -> bool:
        return bool(self.segments or self.states)

    def lines(self) -> Iterator[str]:
        """A line a stream's recordings, and one a file of states."""
        sums: dict[str, list[int]] = {}
        for stream, each in self.segments:
            known = sums.setdefault(stream, [0, 0])
            known[0], known[1] = known[0] + 1, known[1] + each.bytes
        for stream, (count, size) in sums.items():
            yield f"recordings of {stream}: {count} segment(s), {size / 1e6:.1f} MB"
        for path, streams in self.states:
            yield f"state in {path}: {', '.join(streams) or 'a file that cannot be read'}"


def find(wish: Wish) -> Found:
    """What there is. Raises `OtolithError` where a running daemon keeps the state."""
    found = Found(wish)
    if wish.recordings is not None:
        for each in segments(wish.recordings):
            opening = read_opening(each.log)
            stream = each.folder.name if opening is None else opening.stream
            if wish.stream in (None, stream) and each.written_s < wish.before_s:
                found.segments.append((stream, each))
    if wish.state is not None:
        for path in sorted(wish.state.glob(f"*{SUFFIX}")):
            _find_states(path, found)
    return found


def _find_states(path: Path, found: Found) -> None:
    wish = found.wish
    if path.stat().st_mtime >= wish.before_s:
        return
    try:
        checkpoint = decode(path.read_bytes())
        kept = spread(checkpoint).keys() | checkpoint.gone.keys()
    except CheckpointError:
        if wish.stream is None:
            found.states.append((path, []))
        return
    streams = [stream for stream in sorted(kept) if wish.stream in (None, stream)]
    if streams or wish.is_all:
        found.states.append((path, streams))


def remove(found: Found) -> str:
    """Remove it; what that was. Raises `OtolithError` where a running daemon keeps the state."""
    for path, streams in found.states:
        with _held(path):
            _remove_streams(path, streams, found.wish)
    freed = sum(each.remove() for _, each in found.segments)
    if found.wish.recordings is not None:
        remove_models(found.wish.recordings, segments(found.wish.recordings))
        if found.wish.is_all:
            shutil.rmtree(found.wish.recordings / MODELS, ignore_errors=True)
    count = sum(len(streams) for _, streams in found.states)
    return f"{len(found.segments)} segment(s), {freed / 1e6:.1f} MB, and the state of {count} stream(s)"


def _remove_streams(path: Path, streams: list[str], wish: Wish) -> None:
    if wish.stream is None:
        path.unlink(missing_ok=True)
        return
    before, written = decode(path.read_bytes()), path.stat()
    gone = {stream: at for stream, at in before.gone.items() if stream not in streams}
    groups = [_without(group, streams) for group in before.groups]
    replace_file(path, encode(msgspec.structs.replace(before, groups=[g for g in groups if g.streams], gone=gone)))
    os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))  # it is as old as it was


def _without(group: Group, streams: list[str]) -> Group:
    stay = [place for place, each in enumerate(group.streams) if each.stream not in streams]
    rows = {name: array[stay] for name, array in group.rows.items()}
    return Group(group.model, [group.streams[place] for place in stay], rows)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold the lock of a file of states, that no daemon writes it again."""
    lock = -1
    try:
        with suppress(FileNotFoundError):
            lock = os.open(path.with_suffix(LOCK), os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise OtolithError(f"{path}: a running daemon keeps its state there; stop it first") from None
    finally:
        if lock >= 0:
            os.close(lock)
