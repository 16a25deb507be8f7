"""A login: user and password from a file that nobody else may read; never from a URL or an argument.

`?login=FILE` names it. A name without a slash is looked for among the credentials that systemd hands to the unit
(`LoadCredential=`, in `$CREDENTIALS_DIRECTORY`) first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from otolith.errors import SettingsError
from otolith.wire.secrecy import find_credential, others_may_read

MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Login:
    """Who somebody says to be. The password is not shown."""

    user: str
    password: str = field(repr=False)


def read_login(name: str) -> Login:
    """The first two lines of a file: user and password. Raises `SettingsError`, which does not repeat them."""
    path = find_login(name)
    try:
        if others_may_read(path):
            raise SettingsError(f"{path}: others may read this login; chmod 600 it")
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}); write user and password, a line each"
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8; write user and password, a line each") from None
    user, _, rest = text.partition("\n")
    password = rest.partition("\n")[0].rstrip("\r")
    if len(text) > MAX_BYTES or not user.strip() or not password:
        raise SettingsError(f"{path}: is no login; write user and password, a line each")
    return Login(user.strip(), password)


def find_login(name: str) -> Path:
    """Where a login is."""
    return find_credential(name) or Path(name)
