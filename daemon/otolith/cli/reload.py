"""`otolith reload`: have a running daemon read its settings again."""

from __future__ import annotations

from pathlib import Path

import click

from otolith.cli.status import running
from otolith.errors import UsageError


@click.command(short_help="Have a running daemon read its settings again.")
@click.argument("socket", required=False, type=click.Path(path_type=Path))
@click.option("--pid", type=int, metavar="PID", help="The daemon that is this process.")
def reload(socket: Path | None, pid: int | None) -> None:
    """Have the daemon read its settings and model files again, while its streams go on.

    A new model listens along for a second, then takes over at a frame boundary; streams and routes come and go as the
    file now says. Where anything in it is wrong, nothing changes, and the command says why. SIGHUP does the same.
    SOCKET is the daemon's control socket, where several run.
    """
    from otolith.wire.control import SOCKETS, Request, ask

    found = [socket] if socket else running()
    if pid is not None:
        found = [path for path in found if path.name == SOCKETS.replace("*", str(pid))]
        if not found:
            raise UsageError(f"process {pid} has no control socket in the usual place; send it SIGHUP, or name SOCKET")
    if len(found) > 1:
        raise UsageError(f"{len(found)} daemons run: {', '.join(map(str, found))}; name one")
    changes = ask(found[0], Request("reload")).changes
    click.echo("\n".join(changes) or "nothing has changed")
