"""`otolith infer`: what a model hears in recordings, without a daemon."""

from __future__ import annotations

import click
import msgspec

from otolith.wire.messages import KINDS, Kind, Message, as_dict


@click.command(short_help="Step a model over recordings.")
@click.argument("model")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only these kinds of message.")
@click.option("--json", "as_json", is_flag=True, help="The wire's messages, one JSON object a line.")
@click.pass_context
def infer(ctx: click.Context, model: str, files: tuple[str, ...], kinds: tuple[Kind, ...], as_json: bool) -> None:
    """Step MODEL over recordings as fast as they go, and print what it detects.

    The same stream as the daemon's, from a fresh state for each FILE. Times count from the recording's start. A file
    that cannot be read is told and left out; the exit code is 1 then.
    """
    from otolith.errors import RecordingError
    from otolith.trial import Trial

    with Trial() as trial:  # it is ready by the time that what follows is imported
        from otolith.service.offline import listen_to

        opened = trial.open(model)
    wanted = kinds or (KINDS if as_json else ("detection", "anomaly", "gap"))
    unread = 0
    for file in files:
        try:
            for message in listen_to(file, opened, wanted):
                _print(file, message, as_json)
        except RecordingError as error:
            click.echo(f"otolith: {error}", err=True)
            unread += 1
    ctx.exit(1 if unread else 0)


def _print(file: str, message: Message, as_json: bool) -> None:
    from otolith.cli.lines import line_for

    time_s = message.time_ns / 1e9
    if as_json:
        click.echo(msgspec.json.encode({**as_dict(message), "file": file, "time_s": time_s}).decode())
    else:
        click.echo(f"{file}  {line_for(message, time_s)}")
