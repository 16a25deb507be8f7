"""Keys: who a daemon and its clients are, where more than this machine can reach them.

CurveZMQ (rfc.zeromq.org/spec/26): what is sent is encrypted, and both sides know with whom they speak.

Each has a pair: `NAME.key`, which anyone may know, and `NAME.key_secret`, which nobody else may read. A daemon's folder
holds its own pair, named `daemon`, and in `allowed/` the public keys of those who may connect.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import zmq

from otolith.errors import SettingsError, UsageError
from otolith.wire.secrecy import others_may_read

DAEMON = "daemon"
ALLOWED = "allowed"
PUBLIC, SECRET = ".key", ".key_secret"
KEY_CHARACTERS = 40  # Z85 of 32 bytes
NAME = r"[A-Za-z0-9][\w.-]{0,63}"


@dataclass(frozen=True, slots=True)
class Pair:
    """A public key and its secret one, as Z85 text."""

    public: bytes
    secret: bytes


def default_folder() -> Path:
    """Where a user's keys are."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "otolith" / "keys"


def make_keys(folder: Path, name: str) -> Path:
    """A new pair in `folder`; the public file. Raises `UsageError` where the name is no name, or taken."""
    if not re.fullmatch(NAME, name):
        raise UsageError(f"{name!r}: is no name for keys; use letters, digits, . _ and -, 64 at most")
    if (folder / f"{name}{SECRET}").exists():
        raise UsageError(
            f"{folder / name}{SECRET}: is there already; whoever knows its public half would be locked out"
        )
    from zmq.auth import create_certificates  # here: it takes a moment, and few have keys

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mask = os.umask(0o077)  # the library would leave the secret for everybody to read
    try:
        public, _ = create_certificates(folder, name)
    finally:
        os.umask(mask)
    Path(public).chmod(0o644)
    return Path(public)


def allow(folder: Path, public: Path) -> Path:
    """Let whoever has the secret half of `public` connect to the daemon of `folder`. Raises `SettingsError`."""
    read_public(public)
    (folder / ALLOWED).mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(shutil.copy(public, folder / ALLOWED / f"{public.stem}{PUBLIC}"))


def read_public(path: Path) -> bytes:
    """A public key. Raises `SettingsError`."""
    return _read(path)[0]


def read_pair(path: Path) -> Pair:
    """The pair in a secret file. Raises `SettingsError`, also where others than its owner may read it."""
    if path.exists() and others_may_read(path):
        raise SettingsError(f"{path}: others may read this secret; chmod 600 it, or better: make a new one")
    public, secret = _read(path)
    if secret is None:
        raise SettingsError(f"{path}: holds no secret key; name the file that ends in {SECRET}")
    return Pair(public, secret)


def identify(socket: zmq.Socket[bytes], keys: str | Path | None, daemon: str | Path | None, where: str) -> None:
    """Make a client's socket, before it connects, one of `keys`, that speaks with no one but the `daemon` of that key.

    Without either it stays as it is. Raises `SettingsError`.
    """
    if keys is None and daemon is None:
        return
    if keys is None or daemon is None:
        raise SettingsError(f"{where}: keys go with the daemon's public key; name both, or neither")
    pair = read_pair(Path(keys))
    socket.curve_publickey, socket.curve_secretkey = pair.public, pair.secret
    socket.curve_serverkey = read_public(Path(daemon))


def _read(path: Path) -> tuple[bytes, bytes | None]:
    from zmq.auth import load_certificate

    try:
        public, secret = load_certificate(path)
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror or 'no such file'}); make keys with otolith keys make"
        ) from None
    except (ValueError, LookupError):
        public, secret = b"", None
    if any(key is not None and len(key) != KEY_CHARACTERS for key in (public, secret)):
        raise SettingsError(f"{path}: holds no key; name a file that otolith keys make has written")
    return public, secret
