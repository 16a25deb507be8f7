"""The guard: it lets those connect to a daemon's sockets whose keys are allowed (ZAP, rfc.zeromq.org/spec/27)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from otolith.errors import SettingsError
from otolith.wire.keys import ALLOWED, DAEMON, PUBLIC, SECRET, Pair, read_pair, read_public
from otolith.wire.secrecy import find_credential

if TYPE_CHECKING:
    from zmq.auth.thread import ThreadAuthenticator

log = logging.getLogger(__name__)


class Guard:
    """The daemon's pair, and who may connect: those whose public keys lie in the folder then; to let one in takes no
    restart.

    The secret is taken from systemd's credentials where it is one of them. Raises `SettingsError` where the folder does
    not hold what is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._allowed = folder / ALLOWED
        if not self._allowed.is_dir():
            raise SettingsError(f"keys {folder}: allows nobody in; otolith keys allow FILE lets a client connect")
        self._pair = _daemon_pair(folder)

    def lock(self, socket: zmq.Socket[bytes]) -> None:
        """Have a socket, before it is bound, take no one who does not speak to this daemon's public key."""
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = self._pair.public, self._pair.secret

    def watch(self, context: zmq.Context[zmq.Socket[bytes]]) -> ThreadAuthenticator:
        """Look who connects to the locked sockets of a context, from here on; to be stopped before the context ends."""
        from zmq.auth.thread import ThreadAuthenticator  # here: only those who have keys pay for it

        watchman = ThreadAuthenticator(context)
        watchman.start()
        watchman.configure_curve_callback(domain="*", credentials_provider=self)
        return watchman

    def callback(self, _domain: str, key: bytes) -> bool:
        """May whoever has the secret half of this key connect?"""
        for path in self._allowed.glob(f"*{PUBLIC}"):
            try:
                if read_public(path) == key:
                    return True
            except SettingsError as error:
                log.warning("%s", error)
        extra = {"event": "turned away"}
        log.warning(
            "a client with the key %s was turned away: it is not in %s", key.decode(), self._allowed, extra=extra
        )
        return False


def open_guard(folder: str) -> Guard | None:
    """The guard where the settings name a folder of keys. Raises `SettingsError`."""
    return Guard(Path(folder)) if folder else None


def _daemon_pair(folder: Path) -> Pair:
    name = f"{DAEMON}{SECRET}"
    return read_pair(find_credential(name) or folder / name)
