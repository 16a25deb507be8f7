"""Secrets in files: where systemd hands them over, and whether anybody else may read one."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def credentials() -> Path | None:
    """The folder of what systemd hands to its unit (`LoadCredential=`), if it does."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None


def find_credential(name: str) -> Path | None:
    """The credential of that name, if there is one."""
    folder = credentials()
    return folder / name if folder is not None and "/" not in name and (folder / name).exists() else None


def others_may_read(path: Path) -> bool:
    """Whether more than its owner may. Raises `OSError` where there is no such file."""
    # of a credential the group's bits are those of systemd's access list, which names the service alone
    strangers = 0o007 if path.parent == credentials() else 0o077
    return bool(stat.S_IMODE(path.stat().st_mode) & strangers)
