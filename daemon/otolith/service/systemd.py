"""What systemd is told (sd_notify(3)), and nothing where it does not listen."""

from __future__ import annotations

import os
import socket


def notify(*states: str) -> None:
    """Send states such as `READY=1` to the service manager, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.sendall("\n".join(states).encode())
