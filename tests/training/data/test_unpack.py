"""Archives: what is honest comes out as it is; what would leave its folder, link, or grow without end does not."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

from otolith.errors import OtolithError
from otolith_training.data.unpack import ArchiveError, Bounds, unpack

BOUNDS = Bounds(members=10, size=100_000)


def tarred(path: Path, *entries: tuple[str, bytes, str]) -> Path:
    """A gzipped tar of names, contents and kinds: a tarfile type, where the content is a link's target."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content, kind in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind.encode()
            entry.mode = 0o4777
            if entry.isreg():
                entry.size = len(content)
            else:
                entry.linkname = content.decode()
            tar.addfile(entry, io.BytesIO(content))
    return path


def zipped(path: Path, *entries: tuple[str, bytes, int]) -> Path:
    """A zip of names, contents and Unix modes."""
    with ZipFile(path, "w", ZIP_DEFLATED) as file:
        for name, content, mode in entries:
            info = ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = ZIP_DEFLATED
            file.writestr(info, content)
    return path


def taken(archive: Path, bounds: Bounds = BOUNDS) -> dict[str, bytes]:
    folder = archive.parent / "out"
    unpack(archive, folder, bounds, lambda _: None)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_tar_comes_out_as_it_is_but_for_its_modes(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tgz", ("./yes", b"", "5"), ("./yes/a.wav", b"A", "0"), ("no/b.wav", b"", "0"))
    assert taken(archive) == {"yes/a.wav": b"A", "no/b.wav": b""}
    assert not (tmp_path / "out" / "yes" / "a.wav").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


def test_a_zip_comes_out_as_it_is(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("top/", b"", 0), ("top/a.csv", b"A" * 999, 0o100644), ("b", b"B", 0))
    assert taken(archive) == {"top/a.csv": b"A" * 999, "b": b"B"}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "C:/evil"])  # noqa: S108
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    for archive in (tarred(tmp_path / "a.tgz", (name, b"x", "0")), zipped(tmp_path / "a.zip", (name, b"x", 0))):
        inside = tmp_path / archive.suffix
        inside.mkdir()
        with pytest.raises(ArchiveError, match="which leads out of its folder"):
            unpack(archive, inside / "deep" / "out", BOUNDS, lambda _: None)
        assert not [path for path in inside.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ["1", "2", "3", "4", "6"])  # hard link, symbolic link, devices, pipe
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: str) -> None:
    archive = tarred(tmp_path / "a.tgz", ("link", b"/etc", kind), ("link/evil", b"x", "0"))
    with pytest.raises(ArchiveError, match="'link', a link or device"):
        taken(archive)


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="'link', a link or device"):
        taken(zipped(tmp_path / "a.zip", ("link", b"/etc", stat.S_IFLNK | 0o777)))


@pytest.mark.parametrize("make", [tarred, zipped])
def test_a_bomb_is_refused_before_it_is_written(tmp_path: Path, make: Callable[..., Path]) -> None:
    kind = "0" if make is tarred else 0
    archive = make(tmp_path / "a", ("small", b"x", kind), ("zeros", bytes(50_000_000), kind))
    assert archive.stat().st_size < 100_000
    with pytest.raises(ArchiveError, match="more than 10 files or 100,000 bytes"):
        taken(archive)
    assert not (tmp_path / "out" / "zeros").exists()


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_said(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("zeros", bytes(1_000_000), 0))
    archive.write_bytes(archive.read_bytes().replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(ArchiveError, match="damage"):
        taken(archive)
    assert (tmp_path / "out" / "zeros").stat().st_size <= 10


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="more than 10 files"):
        taken(tarred(tmp_path / "a.tgz", *((str(number), b"", "0") for number in range(11))))


@pytest.mark.parametrize("second", ["a", "a/b"])
def test_a_name_that_stands_twice_is_refused(tmp_path: Path, second: str) -> None:
    with pytest.raises(ArchiveError, match="twice, or as file and folder both"):
        taken(tarred(tmp_path / "a.tgz", ("a", b"1", "0"), (second, b"2", "0")))


@pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>", gzip.compress(b"no tar" * 1000, mtime=0)])
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"a.tgz: holds damage"):
        taken(tmp_path / "a.tgz")


@pytest.mark.parametrize("make", [tarred, zipped])
def test_a_damaged_archive_is_told(tmp_path: Path, make: Callable[..., Path]) -> None:
    content = bytes(range(256)) * 300
    archive = make(tmp_path / "a", ("a", content, "0" if make is tarred else 0))
    whole = archive.read_bytes()
    archive.write_bytes(whole[:200] + bytes(100) + whole[300:])
    with pytest.raises(ArchiveError, match="damage"):
        taken(archive)


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(OtolithError, match="cannot be written") as caught:
        taken(tarred(tmp_path / "a.tgz", ("a", b"1", "0")))
    assert not isinstance(caught.value, ArchiveError)
