"""Real daemon processes for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Self

OTOLITH = [sys.executable, "-m", "otolith"]


class DaemonProcess:
    """`otolith run ...` as a process of its own; ended with the test."""

    def __init__(
        self,
        *arguments: str,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.PIPE,
        **environment: str,
    ) -> None:
        self.process = subprocess.Popen(
            [*OTOLITH, "run", *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **environment},
        )

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Send a signal and wait; how long it took, in seconds."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(10)
        return time.monotonic() - started

    def wait(self, timeout_s: float = 30) -> tuple[int, str]:
        """Exit code and what was said on standard error."""
        _, said = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, (said or b"").decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def run_otolith(*arguments: str | Path, stdin: bytes = b"", timeout_s: float = 60) -> tuple[int, str, str]:
    """A finished command: exit code, standard output, standard error."""
    done = subprocess.run(
        [*OTOLITH, *map(str, arguments)], input=stdin, capture_output=True, timeout=timeout_s, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def json_lines(text: str | Iterable[str]) -> list[dict[str, Any]]:
    lines = text.splitlines() if isinstance(text, str) else text
    return [json.loads(line) for line in lines]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
