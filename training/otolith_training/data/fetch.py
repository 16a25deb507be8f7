"""A public set fetched whole: downloaded, checked, unpacked beside its place, arranged, and only then put there."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from otolith.errors import OtolithError
from otolith_training.data.catalogue import RECIPES, SETS, PublicSet
from otolith_training.data.download import PAUSES_S, Source, cannot_write, download
from otolith_training.data.unpack import ArchiveError, unpack


def data_folder() -> Path:
    """Where sets lie unless another folder is named: the user's cache (XDG Base Directory Specification)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "")
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "otolith" / "data"


def fetch(
    chosen: PublicSet, into: Path | None, mirror: str | None, console: Console, pauses_s: Sequence[float] = PAUSES_S
) -> Path:
    """Fetch as `otolith data get` does; returns the set's folder, which is there whole or not at all.

    `mirror` is another address of the same archive, or of a folder (ending in /) that holds it. Raises `OtolithError`.
    """
    into = into or data_folder()
    place = into / chosen.name
    if place.exists():
        console.print(f"{place}: is there; delete it to fetch it again", markup=False, soft_wrap=True)
        _tell_use(chosen, into, console)
        return place
    source = replace(chosen.source, url=_address(chosen, mirror))
    console.print(f"{chosen.title}\n{chosen.licence}, {chosen.attribution}\n{source.url}", markup=False, soft_wrap=True)
    with _sole_use(into, chosen):
        _get(chosen, source, into, console, pauses_s)
    console.print(f"{place}: done", markup=False, soft_wrap=True)
    _tell_use(chosen, into, console)
    return place


def table_of_sets(into: Path | None) -> Table:
    """What there is, and whether it lies in the data folder."""
    into = into or data_folder()
    table = Table(caption=f"here: {escape(str(into))}")
    for heading in ("name", "download", "licence", "attribution", "here"):
        table.add_column(heading, no_wrap=heading != "attribution")
    for known in SETS:
        size = f"{'' if known.source.size else 'about '}{known.megabytes:,} MB"
        here = "yes" if (into / known.name).is_dir() else "no"
        table.add_row(known.name, size, known.licence, escape(known.attribution), here)
    return table


def _get(chosen: PublicSet, source: Source, into: Path, console: Console, pauses_s: Sequence[float]) -> None:
    archive, note = into / chosen.archive, into / f"{chosen.name}.origin.json"
    try:
        digest = _download(source, archive, console, pauses_s)
    except KeyboardInterrupt:
        console.print("interrupted: what has come is kept, the same command goes on from there")
        raise
    try:
        _check_origin(note, source, digest, console)
        _place(chosen, archive, into / chosen.name, console)
    except ArchiveError:
        archive.unlink(missing_ok=True)  # so that another address is not held against it
        raise
    _remember_origin(note, chosen, source, digest)  # only now: what is no set is nothing to trust
    archive.unlink()


def _address(chosen: PublicSet, mirror: str | None) -> str:
    if mirror is None:
        return chosen.source.url
    return mirror + chosen.archive if mirror.endswith("/") else mirror


@contextmanager
def _sole_use(into: Path, chosen: PublicSet) -> Iterator[None]:
    """The data folder, made if need be, with this set's files in it to ourselves."""
    lock = into / f".{chosen.name}.lock"
    try:
        into.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise cannot_write(into, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # falls with the process, however that ends
        except BlockingIOError:
            raise OtolithError(f"{into}: {chosen.name} is being fetched by another command; wait for it") from None
        yield


def _download(source: Source, archive: Path, console: Console, pauses_s: Sequence[float]) -> str:
    columns = (TextColumn("downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=source.size)

        def told(done: int, total: int | None) -> None:
            progress.update(bar, completed=done, total=total)

        return download(source, archive, told, pauses_s)


def _check_origin(note: Path, source: Source, digest: str, console: Console) -> None:
    """Where no checksum is published, hold what came against what came the first time."""
    if source.sha256 is not None:
        return
    first = _remembered(note)
    if first not in (None, digest):
        raise ArchiveError(
            f"{source.url}: sha256 is {digest}, but the first time it was {first}; if its publisher "
            f"changed it, delete {note} and run the same command again"
        )
    how = "as the first time" if first else f"trusted this first time, and remembered in {note}"
    console.print(f"no checksum is published: sha256 {digest}, {how}", markup=False, soft_wrap=True)


def _remember_origin(note: Path, chosen: PublicSet, source: Source, digest: str) -> None:
    """Write beside the set where it came from and whose it is; its licence asks for that too."""
    whose = {"licence": chosen.licence, "attribution": chosen.attribution, "home": chosen.home}
    try:
        note.write_text(json.dumps({"url": source.url, "sha256": digest, **whose}, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise cannot_write(note, error) from None


def _remembered(note: Path) -> str | None:
    """The sha256 of the first download; None where there was none."""
    if not note.exists():
        return None
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        raise OtolithError(
            f"{note}: does not say what came the first time; delete it to trust what comes now"
        ) from None


def _place(chosen: PublicSet, archive: Path, place: Path, console: Console) -> None:
    """Unpack and arrange beside the place, then rename: the place holds a whole set or nothing."""
    scratch = place.with_name(f"{place.name}.unfinished")
    shutil.rmtree(scratch, ignore_errors=True)  # of a command that was killed
    columns = (TextColumn("unpacking"), BarColumn(), DownloadColumn())
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("", total=None)
            unpack(archive, scratch, chosen.bounds, lambda done: progress.update(bar, completed=done))
        tell: Callable[[str], None] = lambda line: console.print(line, markup=False, soft_wrap=True)  # noqa: E731
        chosen.arrange(scratch, tell).rename(place)
    except OSError as error:
        raise cannot_write(place, error) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _tell_use(chosen: PublicSet, into: Path, console: Console) -> None:
    """The command that comes next, ready to be copied."""
    if chosen.note:
        console.print(f"note: {chosen.note}", markup=False, soft_wrap=True)
    if chosen.recipe:
        command = ["otolith", "train", str(RECIPES / chosen.recipe), "--data", str(into)]
    else:
        command = ["otolith", "evaluate", "MODEL.onnx", "--data", str(into / chosen.name)]
    console.print(shlex.join(command), markup=False, soft_wrap=True, highlight=False)
