"""A disk, as far as it can be known without writing to it: a card wears by every write, and by no look."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress
from pathlib import Path

ALLOWED = 0o600


def obstacle(path: Path, size: int) -> str:
    """What stands against writing `size` bytes beside `path`, or nothing; only a write knows whether it does."""
    try:
        folder = os.statvfs(path.parent)
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)
    if not path.parent.is_dir():
        return os.strerror(errno.ENOTDIR)
    if folder.f_flag & os.ST_RDONLY:
        return os.strerror(errno.EROFS)
    beside = beside_of(path)
    if not os.access(path.parent, os.W_OK | os.X_OK) or (beside.exists() and not os.access(beside, os.W_OK)):
        return os.strerror(errno.EACCES)
    if beside.is_dir():
        return os.strerror(errno.EISDIR)
    blocks = folder.f_bavail if os.geteuid() else folder.f_bfree  # some are for root alone
    if blocks * folder.f_frsize < max(1, size) or (folder.f_files and not folder.f_ffree):
        return os.strerror(errno.ENOSPC)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return os.strerror(errno.EFBIG) if 0 <= limit < size else ""


def beside_of(path: Path) -> Path:
    """Where a file is written before it is renamed."""
    return path.with_suffix(".new")


def replace_file(path: Path, content: bytes) -> None:
    """Write beside `path`, then rename. Raises `OSError`; then `path` is as it was."""
    beside = beside_of(path)
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, ALLOWED), "wb") as file:
            file.write(content)
        beside.rename(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
