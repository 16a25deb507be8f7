"""What systemd is told (sd_notify(3)), and nothing where it does not listen."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager


def notify(*states: str) -> None:
    """Send states such as `READY=1` to the service manager, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.sendall("\n".join(states).encode())


@contextmanager
def while_reloading(*, is_ready: bool) -> Iterator[None]:
    """Tell that settings are read again, and when that is over; nothing of a daemon that has not been ready yet."""
    if not is_ready:
        yield
        return
    since = f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"  # Type=notify-reload asks for it
    notify("RELOADING=1", since, "STATUS=reading its settings again")
    try:
        yield
    finally:
        notify("READY=1")


@contextmanager
def last_words() -> Iterator[None]:
    """What ends a daemon stays in its unit's status, also when it has failed for good."""
    try:
        yield
    except Exception as error:
        notify(f"STATUS={str(error) or type(error).__name__}".replace("\n", " "))
        raise
