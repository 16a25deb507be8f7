"""The machine a figure was taken on, and how a process is kept on one core of it."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy
import zmq

from otolith.inference.runtime import version

CORES = sorted(os.sched_getaffinity(0))  # as they were given to us: whoever pins himself sees fewer later
LOAD_BEFORE = round(os.getloadavg()[0], 2)
QUIET = {"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}


def describe() -> dict[str, object]:
    """Date, processor, cores and versions, and how busy the machine was before we came; no host names."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": len(CORES),
        "load_before": LOAD_BEFORE,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "onnxruntime": version(),
        "numpy": numpy.__version__,
        "zmq": zmq.zmq_version(),
    }


def in_words(machine: dict[str, object]) -> str:
    """One line below a table."""
    return (
        "{date}, {processor}, {cores} cores (load {load_before} before), Python {python}, onnxruntime {onnxruntime}, "
        "numpy {numpy}, ZeroMQ {zmq}".format(**machine)
    )


def pinned(core: int, command: Iterable[str | Path]) -> list[str]:
    """The command, kept on one core with all its threads (`taskset`, of util-linux)."""
    return ["taskset", "-c", str(core), *map(str, command)]


def cores() -> tuple[int, int]:
    """The core that is measured and the one for all others: the last two, as most interrupts go to the first."""
    return CORES[-1], CORES[-2] if len(CORES) > 1 else CORES[-1]


def allow_many_files() -> None:
    """As many open files as may be: a thousand producers are some thousand sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
