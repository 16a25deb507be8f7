"""`otolith infer`: what a model hears in recordings, without a daemon."""

from __future__ import annotations

import click
import msgspec

from otolith.wire.messages import KINDS, Kind, as_dict


@click.command()
@click.argument("model")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only these kinds of message.")
@click.option("--json", "as_json", is_flag=True, help="The wire's messages, one JSON object a line.")
def infer(model: str, files: tuple[str, ...], kinds: tuple[Kind, ...], as_json: bool) -> None:
    """Step MODEL over recordings as fast as they go, and print what it detects.

    The same stream as the daemon's, from a fresh state for each FILE. Times count from the recording's start.
    """
    from otolith.cli.lines import line_for
    from otolith.inference.model import Model
    from otolith.service.offline import listen_to

    opened = Model.open(model)
    wanted = kinds or (KINDS if as_json else ("detection", "gap"))
    for file in files:
        for message in listen_to(file, opened, wanted):
            if as_json:
                found = {**as_dict(message), "file": file, "time_s": message.time_ns / 1e9}
                click.echo(msgspec.json.encode(found).decode())
            else:
                click.echo(f"{file}  {line_for(message, message.time_ns / 1e9)}")
