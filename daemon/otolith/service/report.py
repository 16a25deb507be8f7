"""The report: what a daemon says of itself, once a second, where streams come to it from the network."""

from __future__ import annotations

import time
from collections.abc import Mapping

from otolith.service.accounts import Accounts
from otolith.wire.messages import StatusMessage

STREAM = "@ingest"  # no stream's name: those have no such sign


class Report:
    """Writes a `status` of all streams together; `faults` counts what the network brought and was not taken."""

    def __init__(self, boot: str, faults: Mapping[str, int], worker: int | None = None) -> None:
        self._boot, self._faults, self._seq = boot, faults, 0
        self._stream = STREAM if worker is None else f"{STREAM}.{worker + 1}"

    def write(self, accounts: Accounts, streams: int, uptime_s: float, degraded: str = "") -> StatusMessage:
        """The sums of a second that has just been closed; `degraded` is what ails the daemon."""
        seq, self._seq = self._seq, self._seq + 1
        return StatusMessage(
            boot=self._boot,
            seq=seq,
            stream=self._stream,
            model="",
            time_ns=time.time_ns(),
            position=0,
            frames=accounts.frames,
            gaps=accounts.gaps,
            lost=accounts.lost,
            drops=accounts.drops,
            real_time_factor=round(accounts.real_time_factor([]), 6),
            uptime_s=round(uptime_s, 3),
            level_dbfs=None,
            degraded=degraded,
            streams=streams,
            refused=dict(self._faults),
        )
