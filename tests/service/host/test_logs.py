"""Logs: what the journal is told, and that what repeats does not fill it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from otolith.service.host.logs import JournalHandler, Restraint, is_journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "journal"))
        end.settimeout(5)
        yield end


def record(text: str, *arguments: object, level: int = logging.INFO, line: int = 1) -> logging.LogRecord:
    return logging.LogRecord("otolith.service", level, "here.py", line, text, arguments, None)


def test_a_record_reaches_the_journal_with_its_fields(journal: socket.socket, tmp_path: Path) -> None:
    handler = JournalHandler(str(tmp_path / "journal"), worker=2)
    silent = record("stream %s: %s", "kitchen", "silent", level=logging.WARNING)
    silent.__dict__ |= {"stream": "kitchen", "reason": "silent"}  # as `extra` does
    handler.emit(silent)
    fields = dict(line.split("=", 1) for line in journal.recv(9999).decode().splitlines())
    assert fields["MESSAGE"] == "stream kitchen: silent"
    assert (fields["PRIORITY"], fields["STREAM"], fields["REASON"], fields["WORKER"]) == ("4", "kitchen", "silent", "2")
    handler.close()


def test_what_has_several_lines_cannot_feign_a_field(journal: socket.socket, tmp_path: Path) -> None:
    handler = JournalHandler(str(tmp_path / "journal"))
    handler.emit(record("one\nPRIORITY=0"))
    assert journal.recv(9999).startswith(b"MESSAGE\n\x0e\0\0\0\0\0\0\0one\nPRIORITY=0\nPRIORITY=6\n")
    handler.close()


def test_without_a_journal_the_line_keeps_its_priority(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = JournalHandler(str(tmp_path / "none"))
    handler.emit(record("the device is gone", level=logging.WARNING))
    handler.close()
    assert capsys.readouterr().err == "<4>the device is gone\n"


def test_the_journal_is_known_by_what_standard_error_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "stream").open("w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert is_journal(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
        assert not is_journal(stream.fileno())
    monkeypatch.delenv("JOURNAL_STREAM")
    assert not is_journal(2)


def test_a_line_that_repeats_is_counted_and_told_when_the_minute_is_over() -> None:
    now_s = 0.0
    restraint = Restraint(lambda: now_s)
    assert sum(restraint.filter(record("the device is gone")) for _ in range(1000)) == 5
    assert restraint.filter(record("another"))
    now_s = 61.0
    later = record("the device is gone")
    assert restraint.filter(later)
    assert later.getMessage() == "the device is gone (995 lines before it were left out)"


def test_texts_that_differ_are_bounded_by_the_place_they_come_from_and_errors_always_pass() -> None:
    restraint = Restraint(lambda: 0.0)
    assert sum(restraint.filter(record("a stranger with key %d", number)) for number in range(1000)) == 60
    assert restraint.filter(record("elsewhere %d", 1, line=2))
    assert all(restraint.filter(record("broken", level=logging.ERROR)) for _ in range(100))
