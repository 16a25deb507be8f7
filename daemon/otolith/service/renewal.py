"""The renewal: settings as their file now says, where a running daemon can take them on."""

from __future__ import annotations

from collections.abc import Callable

from otolith.errors import SettingsError, UsageError
from otolith.settings import Settings

# what only a restart changes
FIXED = ("publish", "ingest", "engine", "workers", "control", "keys", "metrics", "state", "recorder")

ReadSettings = Callable[[], Settings]


def read_again(read: ReadSettings | None, now: Settings) -> Settings:
    """What `read` says. Raises `SettingsError` where that is wrong or differs from `now` in what is fixed."""
    if read is None:
        raise UsageError("there is no settings file to read again; start with otolith run CONFIG")
    settings = read()
    if fixed := [name for name in FIXED if getattr(settings, name) != getattr(now, name)]:
        raise SettingsError(f"{', '.join(fixed)} cannot be changed while it runs; restart the daemon for that")
    return settings
