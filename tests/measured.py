"""What a call costs: CPU and memory, each call in a process of its own, forked from one that has imported everything.

`measure("otolith.recordings:read_sensor", path)` says what was raised, how long it took and how far memory rose above
where it stood: the kernel's own high-water mark (`ru_maxrss`), so nothing that was freed in between is missed.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Self

ROOT = Path(__file__).parent.parent
MEGABYTE = 1 << 20
ENDS_IN_S = 60
IMPORTED = ("otolith.trial", "otolith.inference.model", "otolith.recordings", "otolith.settings", "soundfile", "soxr")
IMPORTED_TOO = (
    "pyarrow.parquet",
    "otolith_training.data.packed",
    "otolith_training.data.unpack",
    "otolith.service.check",
)


class Cost(NamedTuple):
    """What a call came to. `refused` is the message of an `OtolithError`, or empty."""

    refused: str
    cpu_s: float
    extra_mb: float
    failed: str  # any other exception


class Measure:
    """The process that is forked; one call at a time."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.measured"], stdin=pipe, stdout=pipe, text=True, cwd=ROOT
        )

    def __call__(self, call: str, *arguments: object) -> Cost:
        """Call `module:function` with JSON's kinds of arguments; paths as text."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([call, *map(_plain, arguments)]) + "\n")
        self._process.stdin.flush()
        return Cost(*json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _plain(argument: object) -> object:
    return str(argument) if isinstance(argument, Path) else argument


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _call(call: str, arguments: list[object]) -> Cost:
    from otolith.errors import OtolithError

    module, _, name = call.partition(":")
    function = getattr(import_module(module), name)
    refused = failed = ""
    before_mb, began_s = _peak_mb(), time.process_time()
    try:
        function(*arguments)
    except OtolithError as error:
        refused = str(error)
    except Exception as error:  # noqa: BLE001 - told, and the test fails
        failed = repr(error)
    return Cost(refused, time.process_time() - began_s, _peak_mb() - before_mb, failed)


def read_all_lines(path: str) -> None:
    """As `read_lines`, to the end."""
    from otolith.recordings import read_lines

    for _ in read_lines(Path(path)):
        pass


def read_settings_at(path: str) -> None:
    """As `read_settings`."""
    from otolith.settings import read_settings

    read_settings(Path(path))


def resample_a_block(source_rate: float, model_rate: float) -> None:
    """As a listener does with the largest block there is."""
    import numpy as np

    from otolith.sources.resampler import Resampler
    from otolith.wire.block import MAX_BLOCK_BYTES

    resampler = Resampler(source_rate, model_rate)
    resampler.push(np.zeros(MAX_BLOCK_BYTES // 2, np.int16))


def read_packed(path: str) -> None:
    """As the trainer reads packed arrays."""
    from otolith_training.data.packed import read_arrays

    read_arrays(Path(path), "a packed set")


def _serve() -> None:
    for name in (*IMPORTED, *IMPORTED_TOO):
        import_module(name)
    for line in sys.stdin:
        call, *arguments = json.loads(line)
        if (child := os.fork()) == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (ENDS_IN_S, ENDS_IN_S))
            print(json.dumps(_call(call, arguments)), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            print(json.dumps(["", ENDS_IN_S, 0, f"ended with {status}"]), flush=True)


if __name__ == "__main__":
    _serve()
