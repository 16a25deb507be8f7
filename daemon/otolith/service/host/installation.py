"""The installation: a service as steps, each of which can be shown before it is done."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from otolith.errors import OtolithError, SettingsError
from otolith.service.host.units import Unit, command
from otolith.settings import Settings
from otolith.sources.source import Spec
from otolith.wire.keys import ALLOWED, DAEMON, SECRET

HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - by ProtectHome= and PrivateTmp=


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done, and how it is told."""

    text: str
    do: Callable[[], object]


def steps_to_install(unit: Unit, settings: Settings, config: Path) -> list[Step]:
    """What it takes for `unit` to run with `settings`, which are those of the file `config`.

    Raises `SettingsError` where the service could not read what it needs.
    """
    call = command()
    if not unit.is_user:
        _check_seen([Path(sys.executable), Path(sys.executable).resolve(), Path(sys.base_prefix)], _MOVE)
        named = [path.absolute() for path in (config, *_named(settings))]
        _check_readable([path for path in named if not any(path.is_relative_to(own) for own in unit.data)])
    steps = [_write(unit.path, unit.text(call))]
    if config != unit.settings:
        steps.append(_write(unit.override, unit.override_text(call, config)))
    elif unit.override.exists():
        steps.append(_remove(unit.override))
    if settings.keys and not unit.is_user:
        steps += _keys(unit, Path(settings.keys))
    steps += [_run(unit, "daemon-reload"), _run(unit, "enable", unit.unit)]
    failed = _run(unit, "reset-failed", unit.unit, may_fail=True)  # one that crashed five times would not be started
    return [*steps, failed, _run(unit, "restart", unit.unit)]


def steps_to_uninstall(unit: Unit, *, purge: bool) -> list[Step]:
    """What it takes for `unit` to be gone. Raises `OtolithError` where it is not there."""
    if not unit.path.exists():
        raise OtolithError(f"{unit.path}: is not there; nothing is installed")
    steps = [_run(unit, "disable", "--now", unit.unit)]
    if unit.override.exists():
        steps.append(_remove(unit.override))
    others = [path for path in unit.folder.glob("*.wants/otolith@*.service") if path.name != unit.unit]
    if not (unit.name and others):
        steps.append(_remove(unit.path))
    steps.append(_run(unit, "daemon-reload"))
    if purge:
        steps += [_remove(path) for path in [*unit.data, unit.credential] if path.exists() or path.is_symlink()]
    return steps


_MOVE = "install it where services may look: python3 -m venv /opt/otolith && /opt/otolith/bin/pip install otolith"


def _check_seen(paths: list[Path], remedy: str) -> None:
    for path in paths:
        if str(path).startswith(tuple(f"{folder}/" for folder in HIDDEN)):
            raise SettingsError(f"{path}: a service of the system sees neither home folders nor /tmp; {remedy}")


def _check_readable(paths: list[Path]) -> None:
    """The service's user is made when it starts, and owns nothing of this."""
    _check_seen(paths, "move it to /etc/otolith, or use --user")
    for path in paths:
        if not path.stat().st_mode & 0o004:
            raise SettingsError(f"{path}: the service's own user cannot read it; chmod o+r {path}")
        if closed := next((folder for folder in path.parents if not folder.stat().st_mode & 0o001), None):
            raise SettingsError(f"{path}: the service's own user cannot enter {closed}; chmod o+x {closed}")


def _named(settings: Settings) -> list[Path]:
    """The files that settings name."""
    recordings = [Spec.parse(stream.source) for stream in settings.stream]
    models = [Path(of.model) for of in (*settings.stream, *settings.route)]
    return models + [Path(spec.target) for spec in recordings if spec.scheme == "recording"]


def _keys(unit: Unit, folder: Path) -> list[Step]:
    """The secret becomes a credential; what is public is opened."""
    secret = folder / f"{DAEMON}{SECRET}"

    def lend() -> None:
        unit.credential.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unit.credential.touch(mode=0o600)
        unit.credential.chmod(0o600)
        unit.credential.write_bytes(secret.read_bytes())

    opened = [folder, folder / ALLOWED]
    return [
        Step(f"copy {secret} to {unit.credential} (0600)", lend),
        *(Step(f"chmod 755 {path} (its public keys)", partial(path.chmod, 0o755)) for path in opened),
    ]


def _write(path: Path, text: str) -> Step:
    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o644)

    return Step(f"write {path}", write)


def _remove(path: Path) -> Step:
    def remove() -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
            if path.parent.name.endswith(".service.d") and not any(path.parent.iterdir()):
                path.parent.rmdir()

    return Step(f"remove {path}", remove)


def _run(unit: Unit, *arguments: str, may_fail: bool = False) -> Step:
    whole = [*unit.systemctl, *arguments]

    def run() -> None:
        done = subprocess.run(whole, capture_output=True, text=True, check=False)  # noqa: S603 - systemctl
        if done.returncode and not may_fail:
            logs = f"journalctl {'--user ' if unit.is_user else ''}-u {unit.unit}"
            raise OtolithError(f"{' '.join(whole)}: {done.stderr.strip() or done.returncode}; {logs} may say more")

    return Step(f"run {' '.join(whole)}", run)
