"""The inquiry: how a daemon of many workers is, asked of each and added up."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from otolith.errors import WireError
from otolith.service.host.memory import resident_bytes
from otolith.wire.control import DaemonStatus, Request, exchange
from otolith.wire.tallies import add_up

ANSWERS_IN_S = 5.0  # a worker that hangs holds up whoever asks no longer than that


def inquire(workers: Iterable[Path], publish: str, up_s: float) -> DaemonStatus:
    """The sums of those workers who answer at their control sockets; one that is being started again does not."""
    from importlib.metadata import version  # here: it takes a moment, and few ask

    told: list[DaemonStatus] = []
    for path in workers:
        try:
            answer = exchange(path, Request("status"), ANSWERS_IN_S)
        except WireError:
            continue
        if answer.status is not None:
            told.append(answer.status)
    return DaemonStatus(
        version=version("otolith"),
        pid=os.getpid(),
        publish=publish,
        up_s=round(up_s, 3),
        real_time_factor=max((each.real_time_factor for each in told), default=0.0),
        frames=sum(each.frames for each in told),
        gaps=sum(each.gaps for each in told),
        lost=sum(each.lost for each in told),
        drops=sum(each.drops for each in told),
        refused=dict(sum((Counter(each.refused) for each in told), Counter())),
        streams=[stream for each in told for stream in each.streams],
        degraded="; ".join(dict.fromkeys(each.degraded for each in told if each.degraded)),
        memory_bytes=resident_bytes() + sum(each.memory_bytes for each in told),
        tallied=add_up([each.tallied for each in told if each.tallied is not None]),
    )
