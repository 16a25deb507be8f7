"""Logs: lines on a terminal, fields in systemd's journal; what repeats is counted instead.

A record's stream, model, event and reason are given as `extra`, and become the journal's STREAM, MODEL, EVENT and
REASON: `journalctl STREAM=kitchen`. Nothing is logged a frame.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable

JOURNAL = "/run/systemd/journal/socket"
FIELDS = ("stream", "model", "event", "reason", "worker")
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # as of syslog
DEBUG_PRIORITY = 7
TEXT_BYTES = 16_384  # of one field
READER = "stream "  # how the name of a thread begins that reads a stream's source

PERIOD_S = 60.0
SAME_TEXT, SAME_KIND = 5, 60  # lines within it: of one text, and of one place in the code


def start_logging(worker: int | None = None) -> None:
    """Log what is worth a line, from here on; of the `worker` of that number, if it is one."""
    faulthandler.enable()  # where each thread was when the watchdog's signal came, or the runtime crashed
    prefix = "" if worker is None else f"worker {worker}: "
    handler: logging.Handler
    if is_journal(sys.stderr.fileno()):
        handler = JournalHandler(JOURNAL, worker)
        handler.setFormatter(logging.Formatter(f"{prefix}%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(f"otolith: {prefix}%(message)s"))
    handler.addFilter(Restraint())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def is_journal(descriptor: int) -> bool:
    """Does what is written there go to systemd's journal?"""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


class JournalHandler(logging.Handler):
    """Speaks the journal's own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL); never waits for it."""

    def __init__(self, path: str, worker: int | None = None) -> None:
        super().__init__()
        self._path, self._worker = path, worker
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record with its fields; where that fails, its line goes to standard error with its priority."""
        text = self.format(record)
        fields = {"MESSAGE": text, "PRIORITY": str(priority_of(record.levelno)), "SYSLOG_IDENTIFIER": "otolith"}
        fields |= {"LOGGER": record.name, "SYSLOG_PID": str(os.getpid())}
        if self._worker is not None:
            fields["WORKER"] = str(self._worker)
        if record.threadName and record.threadName.startswith(READER):
            fields["STREAM"] = record.threadName.removeprefix(READER)
        fields |= {name.upper(): str(record.__dict__[name]) for name in FIELDS if name in record.__dict__}
        try:
            self._socket.sendto(b"".join(_encode(*field) for field in fields.items()), self._path)
        except OSError:
            print(f"<{fields['PRIORITY']}>{text}".replace("\n", " "), file=sys.stderr)

    def close(self) -> None:
        """Let the socket go."""
        self._socket.close()
        super().close()


class Restraint(logging.Filter):
    """Lets so many lines of one text through a minute, and of one kind; the rest is counted and told behind it."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s, self._ends_s = now_s, 0.0
        self._texts: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """May it be logged? Errors always may."""
        if (now_s := self._now_s()) >= self._ends_s:
            self._ends_s, left_out, self._left_out = now_s + PERIOD_S, self._left_out, 0
            self._texts.clear()
            self._kinds.clear()
            if left_out:
                record.msg, record.args = f"{record.getMessage()} ({left_out} lines before it were left out)", ()
        if record.levelno >= logging.ERROR:
            return True
        text, kind = record.getMessage(), f"{record.pathname}:{record.lineno}"
        self._texts[text] += 1
        if self._texts[text] <= SAME_TEXT:
            self._kinds[kind] += 1
        may_pass = self._texts[text] <= SAME_TEXT and self._kinds[kind] <= SAME_KIND
        self._left_out += not may_pass
        return may_pass


def priority_of(level: int) -> int:
    """Syslog's number for a level of Python's."""
    return next((priority for least, priority in PRIORITIES if level >= least), DEBUG_PRIORITY)


def _encode(name: str, value: str) -> bytes:
    """One field: `NAME=value`, or with its length in front of it where it has more than one line."""
    data = value.encode("utf-8", "replace")[:TEXT_BYTES]
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
