"""`otolith service`: the daemon as a service of systemd."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from otolith.errors import OtolithError, UsageError

if TYPE_CHECKING:
    from otolith.service.host.installation import Step
    from otolith.service.host.units import Unit

F = TypeVar("F", bound=Callable[..., Any])
FACTS = ("ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "StatusText", "Result")


def unit_options(command: F) -> F:
    """Which service is meant."""
    whose = click.option("--user", "is_user", is_flag=True, help="Your own session's, instead of the system's.")
    which = click.option("--name", default="", metavar="INSTANCE", help="One of several: otolith@INSTANCE.")
    return whose(which(command))


dry_run = click.option("--dry-run", is_flag=True, help="Only show what would be done.")


@click.group(short_help="Install, remove and look at the service.")
def service() -> None:
    """The daemon as a service: started with the machine, watched, and started again.

    \b
      sudo otolith service install                # settings: /etc/otolith/otolith.toml
      sudo otolith service install --name hall    # another daemon beside it: /etc/otolith/hall.toml
      otolith service install --user              # in your session: ~/.config/otolith/otolith.toml
    """


@service.command()
@unit_options
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings elsewhere than usual.")
@dry_run
def install(is_user: bool, name: str, config: Path | None, dry_run: bool) -> None:
    """Check the settings, write the unit, and start it now and with the machine; again after an update."""
    from otolith.service.check import check_daemon
    from otolith.service.host.installation import steps_to_install
    from otolith.settings import read_settings

    unit = _unit(is_user, name, dry_run)
    path = (config or unit.settings).absolute()
    if not path.exists():
        raise UsageError(f"{path}: is not there; write settings first (otolith.toml in docs/service.md), or --config")
    settings = read_settings(path)
    for line in check_daemon(settings, str(path)):
        click.echo(line)
    _take(steps_to_install(unit, settings, path), dry_run)
    if not dry_run:
        click.echo(f"{unit.unit} runs; otolith service status{_options(unit)} tells how it is")


@service.command()
@unit_options
@click.option("--purge", is_flag=True, help="Its state, and its copy of the secret key, too.")
@dry_run
def uninstall(is_user: bool, name: str, purge: bool, dry_run: bool) -> None:
    """Stop it and remove the unit. Settings, models and keys stay; what it has kept too, without --purge."""
    from otolith.service.host.installation import steps_to_uninstall

    unit = _unit(is_user, name, dry_run)
    _take(steps_to_uninstall(unit, purge=purge), dry_run)


@service.command()
@unit_options
def status(is_user: bool, name: str) -> None:
    """What systemd knows of the service, and how its streams are. Exits with 1 where it does not run."""
    import subprocess

    from otolith.service.host.units import Unit, require_systemd

    require_systemd()
    unit = Unit(is_user, name)
    command = [*unit.systemctl, "show", unit.unit, *(f"--property={fact}" for fact in FACTS)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - systemctl
    if told.returncode:
        raise OtolithError(f"{' '.join(unit.systemctl)}: {told.stderr.strip()}")
    facts = dict(line.split("=", 1) for line in told.stdout.splitlines())
    is_on = facts["UnitFileState"] or "not installed"
    how = f"{facts['ActiveState']} ({facts['SubState']})"
    click.echo(f"{unit.unit}: {how}, {is_on}, started again {facts['NRestarts']} time(s)")
    if facts["StatusText"]:
        click.echo(f"says: {facts['StatusText']}")
    if facts["ActiveState"] not in ("active", "reloading"):
        raise OtolithError(f"{unit.unit} does not run; journalctl{' --user' if is_user else ''} -u {unit.unit}")
    _show_streams(int(facts["MainPID"]))


def _show_streams(pid: int) -> None:
    from otolith.cli.status import show
    from otolith.wire.control import SOCKETS, find_daemons

    mine = SOCKETS.replace("*", str(pid))
    if found := [path for path in find_daemons() if path.name == mine]:
        show(found[0], as_json=False)
    else:
        click.echo("its streams: ask as root, or as the user it runs for")


def _unit(is_user: bool, name: str, dry_run: bool) -> Unit:
    """Which unit it is, and whether we may. Raises `OtolithError`."""
    from otolith.service.host.units import Unit, require_systemd

    unit = Unit(is_user, name)
    if dry_run:
        return unit
    require_systemd()
    if not is_user and os.geteuid() != 0:
        raise UsageError("the system's services are root's: use sudo, or --user for one of your own session")
    return unit


def _take(steps: list[Step], dry_run: bool) -> None:
    for step in steps:
        click.echo(f"{'would ' if dry_run else ''}{step.text}")
        if not dry_run:
            step.do()


def _options(unit: Unit) -> str:
    return " --user" if unit.is_user else f" --name {unit.name}" if unit.name else ""
