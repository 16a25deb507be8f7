"""`otolith status`: how a running daemon is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from otolith.errors import OtolithError

if TYPE_CHECKING:
    from otolith.wire.control import DaemonStatus


@click.command(short_help="How a running daemon and its streams are.")
@click.argument("socket", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a daemon.")
def status(socket: Path | None, as_json: bool) -> None:
    """Ask the daemons of this user, and of the system where root asks; or the one whose control socket is SOCKET.

    Exits with 1 where none answers.
    """
    for path in [socket] if socket else running():
        show(path, as_json=as_json)


def show(path: Path, *, as_json: bool) -> None:
    """Print how the daemon with that control socket is. Raises `OtolithError` where it does not tell."""
    from otolith.wire.control import Request, ask

    answer = ask(path, Request("status"))
    if answer.status is None:
        raise OtolithError(f"{path}: answered without a status; is it of another release?")
    if as_json:
        click.echo(json.dumps(_plain(answer.status)))
    else:
        _print(path, answer.status)


def running() -> list[Path]:
    """The control sockets of running daemons. Raises `OtolithError` where there is none."""
    from otolith.wire.control import find_daemons

    if found := find_daemons():
        return found
    raise OtolithError("no daemon of yours is running; start one with otolith run, or name its control socket")


def _plain(told: DaemonStatus) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(told)
    return plain


def _print(path: Path, told: DaemonStatus) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from otolith.wire.messages import LISTENING

    console = Console()
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("stream", "state", "model", "level"):
        table.add_column(column)
    for column in ("rate", "frames", "gaps", "lost", "drops"):
        table.add_column(column, justify="right")
    for stream in told.streams:
        level = "" if stream.level_dbfs is None else f"{stream.level_dbfs:.0f} dBFS"
        style = "" if stream.state == LISTENING else "red"
        rate = "" if stream.rate is None else f"{stream.rate:,.4g} Hz"
        counts = (f"{count:,}" for count in (stream.frames, stream.gaps, stream.lost, stream.drops))
        table.add_row(
            Text(stream.stream, "bold"), Text(stream.state, style), Text(stream.model, "dim"), level, rate, *counts
        )
    console.print(
        f"[bold]otolith {told.version}[/], process {told.pid}, up {told.up_s:,.0f} s, publishing on {told.publish}"
    )
    console.print(
        f"{len(told.streams):,} streams, {told.frames:,} frames at {100 * told.real_time_factor:.2f} % of real time; "
        f"{told.gaps:,} gaps, {told.lost:,} lost, {told.drops:,} blocks dropped",
        *(f"refused: {', '.join(f'{n} {why}' for why, n in told.refused.items())}" for _ in [0] if told.refused),
    )
    if told.degraded:
        console.print(Text(f"degraded: {told.degraded}", "red"))
    if told.streams:
        console.print(table)
    console.print(f"[dim]{path}[/]")
