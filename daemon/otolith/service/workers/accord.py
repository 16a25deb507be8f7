"""The accord: new settings for all workers, or for none. First each prepares them, then all change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from otolith.errors import OtolithError, WireError
from otolith.wire.control import Answer, Command, Request, exchange

PREPARE_S = 30.0  # to open and prove models, all workers at once
CHANGE_S = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Party:
    """A worker: its control socket, and where the order lies that it is to take on."""

    name: str
    control: Path
    proposal: Path


def agree(parties: Sequence[Party]) -> None:
    """Have each prepare its proposal. Raises `OtolithError` where one cannot; then all forget theirs.

    For a worker that does not answer, being started or dead, it is seen to by a process that only checks.
    """
    for party, error in zip(parties, _of_each(parties, _prepare), strict=True):
        if error:
            _of_each(parties, lambda each: _ask(each, "forget", CHANGE_S))
            raise OtolithError(f"{party.name}: {error}")


def change(parties: Sequence[Party]) -> list[Answer]:
    """Have each change to what it has prepared; an answer with an `error` is that of one that did not."""
    return _of_each(parties, lambda party: _ask(party, "change", CHANGE_S) or Answer(error="it does not answer"))


def _prepare(party: Party) -> str:
    """Why a worker cannot work as proposed, or nothing."""
    answer = _ask(party, "prepare", PREPARE_S)
    return _check_apart(party.proposal) if answer is None else answer.error


def _check_apart(proposal: Path) -> str:
    command = [sys.executable, "-P", "-m", "otolith.service.workers.worker", "--check", str(proposal)]
    try:
        checked = subprocess.run(command, capture_output=True, text=True, timeout=PREPARE_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"a check of its settings took over {PREPARE_S:g} s; nothing was changed"
    return checked.stderr.strip() or f"exit code {checked.returncode}" if checked.returncode else ""


def _ask(party: Party, command: Command, timeout_s: float) -> Answer | None:
    try:
        return exchange(party.control, Request(command), timeout_s)
    except WireError:
        return None


def _of_each(parties: Sequence[Party], do: Callable[[Party], T]) -> list[T]:
    """All at once: each is a process of its own."""
    with ThreadPoolExecutor(max(1, len(parties))) as threads:
        return list(threads.map(do, parties))
