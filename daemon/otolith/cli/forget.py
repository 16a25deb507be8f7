"""`otolith forget`: recordings and kept state go."""

from __future__ import annotations

import re
import time
from pathlib import Path

import click

from otolith.errors import UsageError

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
SETTINGS = Path("/etc/otolith/otolith.toml")


@click.command(short_help="Remove recordings, and what streams knew.")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option(
    "--recordings", metavar="DIR", type=click.Path(path_type=Path), help="The recorder's folder, without CONFIG."
)
@click.option("--state", metavar="DIR", type=click.Path(path_type=Path), help="The folder of states, without CONFIG.")
@click.option("--stream", metavar="S", help="Only of this stream.")
@click.option("--older-than", metavar="D", help="Only what is older: 90s, 30m, 12h, 7d or 2w.")
@click.option("--all", "everything", is_flag=True, help="All of it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(
    config: Path | None,
    recordings: Path | None,
    state: Path | None,
    stream: str | None,
    older_than: str | None,
    everything: bool,
    yes: bool,
) -> None:
    """Remove what the daemon of CONFIG recorded and what its streams knew of what they heard.

    CONFIG is a settings file; /etc/otolith/otolith.toml where neither it nor a folder is named. The state of a running
    daemon is its memory: stop it first.
    """
    if everything == bool(stream or older_than):
        raise UsageError("say what to forget: --all, or --stream S, --older-than D, or both of these")
    from otolith.service.recording.forgetting import Wish, find, remove

    if recordings is None and state is None:
        recordings, state = _folders(config or SETTINGS)
    before_s = time.time() - _seconds(older_than) if older_than else float("inf")
    found = find(Wish(recordings, state, stream, before_s))
    for line in found.lines():
        click.echo(line)
    if not found:
        click.echo("nothing to forget")
        return
    if not yes:
        click.confirm("remove that for good?", abort=True)
    click.echo(f"removed: {remove(found)}")


def _folders(config: Path) -> tuple[Path | None, Path | None]:
    """The recorder's folder and that of states, by a settings file."""
    from otolith.service.keeping.keeper import state_folder
    from otolith.settings import read_settings

    settings = read_settings(config)
    recorder = settings.recorder.folder
    return Path(recorder) if recorder else None, state_folder(settings.state)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if found is None:
        raise UsageError(f"--older-than {text}: write a number and a unit: 90s, 30m, 12h, 7d or 2w")
    return float(found[1]) * UNITS_S[found[2]]
