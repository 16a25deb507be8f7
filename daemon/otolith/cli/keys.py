"""`otolith keys`: who may connect to a daemon from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where the keys are.  [default: ~/.config/otolith/keys]",
)


def key_options(command: F) -> F:
    """The options of commands that connect to a daemon."""
    path = click.Path(path_type=Path)
    theirs = click.option("--daemon-key", type=path, metavar="FILE", help="The daemon's public key (daemon.key).")
    ours = click.option("--keys", type=path, metavar="FILE", help="Your secret key (NAME.key_secret).")
    return ours(theirs(command))


@click.group(short_help="Make keys, and say who may connect.")
def keys() -> None:
    """Keys let a daemon serve other machines: without them it serves loopback and socket files alone.

    \b
      otolith keys make daemon                # on the daemon's machine; then keys = FOLDER in its settings
      otolith keys make laptop                # on the other; carry laptop.key to the daemon's, and daemon.key back
      otolith keys allow laptop.key           # on the daemon's
      otolith subscribe tcp://HOST:7311 --keys laptop.key_secret --daemon-key daemon.key
    """


@keys.command()
@click.argument("name")
@FOLDER
def make(name: str, folder: Path | None) -> None:
    """Make a pair: NAME.key, which others may have, and NAME.key_secret, which nobody else may."""
    from otolith.wire.keys import SECRET, default_folder, make_keys

    public = make_keys(folder or default_folder(), name)
    click.echo(f"{public}  carry it to whom it shall speak with")
    click.echo(f"{public.with_suffix(SECRET)}  keep it here")


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
@FOLDER
def allow(file: Path, folder: Path | None) -> None:
    """Let whoever has the secret half of the public key in FILE connect; a running daemon lets him in at once."""
    from otolith.wire.keys import allow as let_in
    from otolith.wire.keys import default_folder

    click.echo(f"{let_in(folder or default_folder(), file)}  remove it to shut that client out")


@keys.command("list")
@FOLDER
def list_keys(folder: Path | None) -> None:
    """List the pairs that are here, and who may connect."""
    from otolith.wire.keys import ALLOWED, PUBLIC, SECRET, default_folder, read_public

    folder = folder or default_folder()
    for path in sorted(folder.glob(f"*{SECRET}")):
        click.echo(f"{path.stem:<20} {read_public(path).decode()}  a pair of yours")
    for path in sorted((folder / ALLOWED).glob(f"*{PUBLIC}")):
        click.echo(f"{path.stem:<20} {read_public(path).decode()}  may connect")
