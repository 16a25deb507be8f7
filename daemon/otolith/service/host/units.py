"""Units: where systemd keeps those of a daemon, and what they say on this machine."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from otolith.errors import OtolithError, UsageError

SHIPPED = "/usr/bin/env otolith"  # as the units that ship call us
NAME = r"[A-Za-z0-9][\w.-]{0,63}"
SYSTEM_FOLDER = Path("/etc/systemd/system")
SETTINGS_FOLDER = Path("/etc/otolith")
CREDENTIALS = Path("/etc/credstore")


@dataclass(frozen=True, slots=True)
class Unit:
    """The system's one daemon, an instance of that `name`, or a user's. Raises `UsageError` where it is none."""

    is_user: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if self.is_user and self.name:
            raise UsageError("--name is for services of the system; a user's session has one otolith")
        if self.name and not re.fullmatch(NAME, self.name):
            raise UsageError(f"--name {self.name!r}: use letters, digits, . _ and -, 64 at most")

    @property
    def unit(self) -> str:
        """As systemctl calls it."""
        return f"otolith@{self.name}.service" if self.name else "otolith.service"

    @property
    def folder(self) -> Path:
        """Where systemd looks for it."""
        return _config_home() / "systemd/user" if self.is_user else SYSTEM_FOLDER

    @property
    def path(self) -> Path:
        """The unit's file; instances share one."""
        return self.folder / ("otolith@.service" if self.name else "otolith.service")

    @property
    def override(self) -> Path:
        """The drop-in that names other settings than the usual ones."""
        return self.folder / f"{self.unit}.d" / "settings.conf"

    @property
    def settings(self) -> Path:
        """The usual settings file."""
        folder = _config_home() / "otolith" if self.is_user else SETTINGS_FOLDER
        return folder / f"{self.name or 'otolith'}.toml"

    @property
    def credential(self) -> Path:
        """Where systemd finds the daemon's secret key."""
        return CREDENTIALS / f"otolith{f'-{self.name}' if self.name else ''}.daemon.key_secret"

    @property
    def data(self) -> list[Path]:
        """What it keeps between runs."""
        if self.is_user:
            return [Path.home() / ".local/state/otolith"]
        own = f"otolith{f'-{self.name}' if self.name else ''}"
        return [Path("/var/lib/private") / own, Path("/var/lib") / own]

    @property
    def systemctl(self) -> list[str]:
        """How it is spoken of with systemd."""
        return ["systemctl", "--user"] if self.is_user else ["systemctl"]

    def text(self, command: str) -> str:
        """The unit's file, that calls `command`."""
        shipped = files("otolith") / "units" / (f"user/{self.path.name}" if self.is_user else self.path.name)
        return shipped.read_text("utf-8").replace(f"={SHIPPED} ", f"={command} ")

    def override_text(self, command: str, settings: Path) -> str:
        """The drop-in's file."""
        return f"# Written by otolith service install.\n[Service]\nExecStart=\nExecStart={command} run {settings}\n"


def command() -> str:
    """The `otolith` that is running, as a unit calls it."""
    beside = Path(sys.executable).with_name("otolith")
    found = str(beside) if beside.exists() else shutil.which("otolith")
    return found or f"{sys.executable} -m otolith"


def require_systemd() -> None:
    """Raises `OtolithError` where systemd does not run this machine."""
    if shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
        raise OtolithError(
            "systemd does not run this machine; have whatever starts services here run: otolith run CONFIG "
            "(it ends with 0 when stopped, and with 78 where another try would not help)"
        )


def _config_home() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
