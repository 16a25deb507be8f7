"""A stranger's tar.gz or zip archive, into a new folder: plain files and folders, within bounds, or nothing.

Everything in an archive is a claim of whoever made it. Files are therefore written by us, under names that were looked
at, with our own modes: links, devices, owners, absolute names and `..` have no way in.
"""

from __future__ import annotations

import gzip
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Literal
from zipfile import BadZipFile, ZipFile, ZipInfo, is_zipfile

from otolith.errors import OtolithError
from otolith_training.data.download import cannot_write

Kind = Literal["file", "folder", "other"]

PADDING = 1 << 20  # bytes behind a tar's end; writers fill up blocks of 10 kB
UNREADABLE = (tarfile.TarError, gzip.BadGzipFile, BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an archive may hold at most."""

    members: int
    size: int  # bytes, unpacked


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int  # bytes, as claimed; both readers stop there whatever comes
    kind: Kind
    open: Callable[[], IO[bytes]]


class ArchiveError(OtolithError):
    """An archive is damaged, or holds what it must not."""


def unpack(archive: Path, folder: Path, bounds: Bounds, told: Callable[[int], None]) -> None:
    """Unpack into `folder`, which must not be there yet; `told` hears of bytes written so far.

    Raises `ArchiveError` at the first member that is anything but a plain file or folder inside, at one too many, and
    where the archive is damaged; `OtolithError` where the disk refuses. What is then in `folder` is the caller's to
    remove.
    """
    written = 0
    try:
        folder.mkdir(parents=True)
        for count, member in enumerate(_members(archive), start=1):
            written += member.size
            if count > bounds.members or written > bounds.size:
                raise _refusal(archive, f"more than {bounds.members:,} files or {bounds.size:,} bytes")
            _write(member, folder / _inside(archive, member), archive)
            told(written)
    except UNREADABLE as error:
        raise _refusal(archive, f"damage ({error})") from None
    except OSError as error:
        raise cannot_write(folder, error) from None


def _members(archive: Path) -> Iterator[_Member]:
    if is_zipfile(archive):
        with ZipFile(archive) as zipped:
            for info in zipped.infolist():
                yield _Member(info.filename, info.file_size, _zip_kind(info), partial(zipped.open, info))
        return
    with gzip.open(archive) as stream, tarfile.open(fileobj=stream) as tar:
        for entry in tar:
            yield _Member(entry.name, entry.size, _tar_kind(entry), partial(_tar_content, tar, entry))
        if (
            len(stream.read(PADDING + 1)) > PADDING
        ):  # to the end, where gzip's own checksum stands: tarfile stops before
            raise tarfile.ReadError("more behind its end")


def _tar_kind(entry: tarfile.TarInfo) -> Kind:
    return "file" if entry.isreg() else "folder" if entry.isdir() else "other"


def _tar_content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(entry)
    assert content is not None  # noqa: S101 - it is for links and devices alone
    return content


def _zip_kind(info: ZipInfo) -> Kind:
    """What a zip's member is: Unix writers keep its mode in the upper half of `external_attr`."""
    if info.is_dir():
        return "folder"
    kind = stat.S_IFMT(info.external_attr >> 16)
    return "file" if kind in (0, stat.S_IFREG) else "other"


def _inside(archive: Path, member: _Member) -> PurePosixPath:
    """The member's name, if it stays inside the folder whatever the system makes of it."""
    name = PurePosixPath(member.name)
    if member.kind == "other":
        raise _refusal(archive, f"{member.name!r}, a link or device")
    if name.is_absolute() or ".." in name.parts or any(sign in member.name for sign in "\\:\0"):
        raise _refusal(archive, f"{member.name!r}, which leads out of its folder")
    return name


def _write(member: _Member, place: Path, archive: Path) -> None:
    try:
        if member.kind == "folder":
            place.mkdir(parents=True, exist_ok=True)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file, member.open() as content:
            shutil.copyfileobj(content, file, 1 << 20)
    except (FileExistsError, NotADirectoryError):
        raise _refusal(archive, f"{member.name!r} twice, or as file and folder both") from None


def _refusal(archive: Path, found: str) -> ArchiveError:
    return ArchiveError(f"{archive.name}: holds {found}; nothing of it is used, name another address with --from")
