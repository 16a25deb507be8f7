"""Packed arrays: `*.npz` files, read without pickles, no larger than what they are packed in lets expect."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from otolith.errors import RecordingError
from otolith.recordings import PACKED, SPARE_BYTES

UNREADABLE = (BadZipFile, EOFError, LookupError, MemoryError, NotImplementedError, OSError, RuntimeError, SyntaxError)
MAX_ARRAYS = 256


def read_arrays(path: Path, what: str) -> dict[str, NDArray[Any]]:
    """All arrays of a file that should be `what`, by name. Raises `RecordingError`."""
    try:
        with ZipFile(path) as archive:
            _require_modest(path, archive)
            return {
                name.removesuffix(".npy"): _read(archive, name) for name in archive.namelist() if name.endswith(".npy")
            }
    except (*UNREADABLE, ValueError, TypeError, zlib.error) as error:
        reason = str(error)[:200] or type(error).__name__
        raise RecordingError(f"{path}: cannot be read as {what} ({reason}); pack it again") from None


def _require_modest(path: Path, archive: ZipFile) -> None:
    """Raise `RecordingError` by what the members claim: no more of one is read than it claims."""
    members = archive.infolist()
    unpacked, packed = sum(member.file_size for member in members), path.stat().st_size
    if unpacked > SPARE_BYTES + PACKED * packed or len(members) > MAX_ARRAYS:
        raise RecordingError(
            f"{path}: {packed} bytes would become {len(members)} arrays of {unpacked}; pack it without compression, "
            "if you trust it"
        )


def _read(archive: ZipFile, name: str) -> NDArray[Any]:
    """One array. Raises `ValueError` where its header claims more than its member does."""
    with archive.open(name) as member:
        version = npy.read_magic(member)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(member)
        if dtype.itemsize * int(np.prod([int(n) for n in shape], dtype=object)) > archive.getinfo(name).file_size:
            raise ValueError(f"{name} claims the shape {shape}, which is more than it holds")
    with archive.open(name) as member:
        return npy.read_array(member, allow_pickle=False)
