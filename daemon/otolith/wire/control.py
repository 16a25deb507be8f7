"""Control: how a running daemon is asked and steered, over a socket file of its own.

A request is a line of JSON, `{"command": "status"}`, its answer another. Whoever is neither root nor the daemon's own
user is not answered.
"""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Literal

import msgspec

from otolith.errors import OtolithError, WireError
from otolith.wire.messages import StatusMessage
from otolith.wire.tallies import Tallied

LINE_BYTES = 1 << 16  # of a request at most
ANSWER_BYTES = 1 << 26  # ten thousand streams tell some 5 MB
SOCKETS = "daemon-*.sock"
ANSWERS_IN_S = 60.0  # a reload opens and proves models

Command = Literal["status", "reload", "prepare", "change", "forget"]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a daemon is asked: how it is, or to read its settings again.

    A reload in two: `prepare` does all of it that can fail, `change` the rest, `forget` lets it be.
    """

    command: Command


class DaemonStatus(msgspec.Struct, frozen=True):
    """How a daemon is. Counts are of all streams since it started; `streams` are their last heartbeats.

    `refused` counts by reason what the network brought and was not taken; `degraded` says what it cannot do beside
    predicting: a disk that is full, and the like. `memory_bytes` is resident; `tallied` is
    there where the settings ask for metrics.
    """

    version: str
    pid: int
    publish: str
    up_s: float
    real_time_factor: float
    frames: int
    gaps: int
    lost: int
    drops: int
    refused: dict[str, int]
    streams: list[StatusMessage]
    degraded: str = ""
    memory_bytes: int = 0
    tallied: Tallied | None = None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a daemon answers: an `error` where it did not do what it was asked."""

    error: str = ""
    status: DaemonStatus | None = None
    changes: list[str] = []  # what a reload changed, a line each


def control_folders() -> list[Path]:
    """Where daemons of this user, and of the system, have their control sockets; the first is where one begins."""
    places = [os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]]
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        places.append(f"{session}/otolith")
    places += [f"{tempfile.gettempdir()}/otolith-{os.getuid()}", "/run/otolith"]
    places += sorted(map(str, Path("/run").glob("otolith-*")))  # of instances, otolith@NAME.service
    return [Path(place) for place in dict.fromkeys(places) if place]


def find_daemons() -> list[Path]:
    """The control sockets of daemons that this user may ask."""
    found = []
    for folder in control_folders():
        if os.access(folder, os.R_OK | os.X_OK):
            found += sorted(path for path in folder.glob(SOCKETS) if is_answered(path))
    return found


def ask(path: Path, request: Request) -> Answer:
    """A daemon's answer. Raises `WireError` where none is there, `OtolithError` with why it did not do it."""
    answer = exchange(path, request, ANSWERS_IN_S)
    if answer.error:
        raise OtolithError(f"{path}: {answer.error}")
    return answer


def exchange(path: Path, request: Request, timeout_s: float) -> Answer:
    """A daemon's answer, be it an error. Raises `WireError` where none is there, or none in time."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout_s)
            line.connect(str(path))
            line.sendall(msgspec.json.encode(request) + b"\n")
            return decode_answer(read_line(line, ANSWER_BYTES))
    except (OSError, ValueError, WireError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no answer"
        raise WireError(f"{path}: no daemon answers there ({reason}); is it running, and yours?") from None


def decode_request(line: bytes) -> Request:
    """What a daemon is asked. Raises `WireError`."""
    try:
        return msgspec.json.decode(line, type=Request)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"not a request: {error}") from None


def decode_answer(line: bytes) -> Answer:
    """What a daemon says. Raises `WireError`."""
    try:
        return msgspec.json.decode(line, type=Answer)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"not an answer: {error}") from None


def read_line(line: socket.socket, most: int) -> bytes:
    """Bytes up to a newline. Raises `ValueError` where the line ends before, or is longer than `most`."""
    parts, count = [], 0
    while part := line.recv(1 << 16):
        parts.append(part)
        count += len(part)
        if part.endswith(b"\n"):
            return b"".join(parts)
        if count > most:
            raise ValueError(f"a line of over {most} bytes")
    raise ValueError("the line broke off")


def is_answered(path: Path) -> bool:
    """Is somebody there, or is the file all that is left of a daemon that was killed?"""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(1.0)
            line.connect(str(path))
    except OSError:
        return False
    return True
