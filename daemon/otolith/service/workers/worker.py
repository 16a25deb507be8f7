"""A worker: the daemon's loop as a process of its own, for a share of the streams.

Only `otolith run` starts it, and it dies with that, whatever ends it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import msgspec

from otolith.errors import OtolithError
from otolith.service.host.logs import start_logging
from otolith.settings import Settings
from otolith.trial import Trial
from otolith.wire.line import Line

STOPPED = 128 + signal.SIGTERM  # the exit code behind a signal: the sources have not ended, unlike behind 0
PR_SET_PDEATHSIG = 1  # prctl(2): a signal for when the thread that started us has ended


class Order(msgspec.Struct, frozen=True):
    """What a worker is told: its share of the settings, and its line. Where it is to change, another lies beside it."""

    settings: Settings
    where: str
    line: Line
    daemon: int  # its process


def share_of(settings: Settings, streams: set[str]) -> Settings:
    """The settings of one worker: the `streams` that it opens itself, and all routes."""
    own = [stream for stream in settings.stream if stream.name in streams]
    return msgspec.structs.replace(settings, stream=own, workers=1)


def proposal_beside(order: Path) -> Path:
    """Where the order lies that a worker is to take on, beside its own."""
    return order.with_suffix(".proposal")


def read_order(path: Path) -> Order:
    """An order as the daemon has written it."""
    return msgspec.json.decode(path.read_bytes(), type=Order)


def work(order: Order, path: Path) -> None:
    """Listen until the sources end, or a signal comes; then it exits with `STOPPED`."""
    with Trial(Path(order.line.folder), at_once=order.line.life == 1) as trial:
        from otolith.service.assemble import assemble  # here: by now, we die with the daemon

        daemon = assemble(order.settings, order.where, order.line, trial)
    daemon.read_settings = lambda: read_order(proposal_beside(path)).settings
    code = 0

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal code
        code = STOPPED
        daemon.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    daemon.run()
    sys.exit(code)


def check(order: Order) -> None:
    """Exit with what is wrong with an order's settings, if anything is."""
    from otolith.service.check import check_daemon

    try:
        check_daemon(order.settings, order.where)
    except OtolithError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def main() -> None:
    """`python -m otolith.service.workers.worker [--check] ORDER`: to work, or only to say whether it could."""
    *options, path = sys.argv[1:]
    order = read_order(Path(path))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != order.daemon:
        sys.exit(1)  # it ended before we asked
    if "--check" in options:
        check(order)
        return
    start_logging(order.line.worker + 1)
    try:
        work(order, Path(path))
    except OtolithError as error:
        print(f"otolith: worker {order.line.worker + 1}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
