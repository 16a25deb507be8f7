"""Disks that fail: what becomes of a folder that a daemon writes to, each by what really does it."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Self

import psutil
import pytest

from tests.conftest import UNAVOIDABLE
from tests.faults.house import House

Disk = Callable[[House, Path], AbstractContextManager[None]]  # a fault of a folder, as long as it is entered

EXT4_SHUTDOWN, WRITTEN_OUT = 0x8004587D, 0  # ioctl(2): as of a disk that is pulled out behind a sync


@contextmanager
def no_room(house: House, _folder: Path) -> Iterator[None]:
    """As of a full disk: no file may grow."""
    process = psutil.Process(house.daemon.process.pid)
    process.rlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    yield
    process.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def no_folder(_house: House, folder: Path) -> Iterator[None]:
    """The folder is gone, and something else is in its place."""
    aside = folder.with_name(f"{folder.name} aside")
    folder.rename(aside)
    folder.write_text("a file")
    yield
    folder.unlink()
    aside.rename(folder)


@contextmanager
def full_disk(_house: House, folder: Path) -> Iterator[None]:
    """A real file system of 64 kB, full."""
    with mounted(folder, "-o", "size=64k"):
        fill(folder)
        yield


@contextmanager
def read_only(_house: House, folder: Path) -> Iterator[None]:
    with mounted(folder, "-o", "ro"):
        yield


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    mount("-t", "tmpfs", *options, "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def mount(*arguments: str) -> None:
    """Skips the test where nobody may."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{UNAVOIDABLE}nothing may be mounted here: {done.stderr.strip()}")


def fill(folder: Path) -> Path:
    """To the last byte: a state is small. The file that does it."""
    filler = folder / "filler"
    for size in (4096, 1):
        with suppress(OSError), filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(size))
    return filler


class Volume:
    """A small disk with a real ext4, mounted at `folder`: a file behind a loop device."""

    def __init__(self, folder: Path, megabytes: int = 16) -> None:
        self.folder, self._image = folder, folder.with_name(f"{folder.name}.image")
        with self._image.open("wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", self._image], check=True)
        folder.mkdir()

    def __enter__(self) -> Self:
        mount("-o", "loop", str(self._image), str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        while self.folder.is_mount():
            subprocess.run(["umount", "-l", self.folder], check=True)

    @contextmanager
    def full(self, _house: House, _folder: Path) -> Iterator[None]:
        filler = fill(self.folder)
        yield
        filler.unlink()

    @contextmanager
    def read_only(self, _house: House, _folder: Path) -> Iterator[None]:
        """As the kernel does it behind an error of the disk, while files there are open."""
        subprocess.run(["sync", "--file-system", self.folder], check=True)
        subprocess.run(["mount", "-o", "remount,abort", self.folder], check=True)
        yield
        self._replace()

    @contextmanager
    def broken(self, _house: House, _folder: Path) -> Iterator[None]:
        """Nothing can be read or written: EIO."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        fcntl.ioctl(descriptor, EXT4_SHUTDOWN, struct.pack("I", WRITTEN_OUT))
        os.close(descriptor)
        yield
        self._replace()

    @contextmanager
    def hung(self, _house: House, _folder: Path) -> Iterator[None]:
        """Whoever writes waits, and cannot even be killed."""
        subprocess.run(["fsfreeze", "--freeze", self.folder], check=True)
        try:
            yield
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", self.folder], check=True)

    def _replace(self) -> None:
        """By another disk with the same on it, over the old one."""
        self._image = Path(shutil.copy(self._image, f"{self._image}+"))
        self.__enter__()
