"""A control group of the kernel's: what a unit's CPUQuota= and MemoryMax= are made of, around one process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import UNAVOIDABLE

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


@contextmanager
def processor_share(pid: int, share: float) -> Iterator[Path]:
    """Hold a process to that share of one processor; gives the group's `cpu.stat`."""
    quota_us = round(share * PERIOD_US)
    with _group("cpu", pid) as group:
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        else:
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        yield group / "cpu.stat"


@contextmanager
def memory_limit(pid: int, room: int) -> Iterator[None]:
    """Let a process take `room` bytes more than it has; where it wants more, the kernel ends it."""
    with _group("memory", pid) as group:  # what it had before stays counted where it was
        is_second = (group / "memory.max").exists()
        (group / ("memory.max" if is_second else "memory.limit_in_bytes")).write_text(str(room))
        yield


@contextmanager
def _group(controller: str, pid: int) -> Iterator[Path]:
    """A group of its own for a process, in the kernel's second hierarchy or the first; it goes when that has ended."""
    is_second = (ROOT / "cgroup.controllers").exists()
    above = ROOT if is_second else ROOT / controller
    if is_second and controller not in (ROOT / "cgroup.subtree_control").read_text().split():
        pytest.skip(f"{UNAVOIDABLE}the kernel's {controller} controller is not at hand here")
    group = above / f"otolith-{uuid4().hex[:8]}"
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"{UNAVOIDABLE}no control group may be made here: {error}")
    try:
        yield group
    finally:
        with suppress(OSError):
            (above / "cgroup.procs").write_text(str(pid))
        for _ in range(50):  # until the kernel has let go of the process
            with suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)
