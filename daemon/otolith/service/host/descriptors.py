"""Descriptors: how many files and connections the process may have open."""

from __future__ import annotations

import resource

ENOUGH = 1 << 16


def allow_many() -> None:
    """As many as the system lets us have, up to `ENOUGH`.

    Most begin with 1,024, which a thousand subscribers use up; and libzmq 4.3.5 aborts where a socket file's listener
    has no descriptor left for one more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
