"""`otolith subscribe`: print a prediction stream, or watch it live."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import msgspec

from otolith.cli.keys import key_options
from otolith.errors import OtolithError
from otolith.settings import DEFAULT_ENDPOINT
from otolith.wire.messages import KINDS, AnyMessage, Kind, as_dict
from otolith.wire.subscriber import Subscriber


@click.command(short_help="Print a prediction stream, or watch it live.")
@click.argument("endpoint", default=DEFAULT_ENDPOINT)
@click.option("--stream", metavar="S", help="Only this stream.")
@click.option("--label", metavar="L", help="Only detections of this label.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only these kinds of message.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many messages.")
@click.option("--timeout", type=click.FloatRange(min=0), help="End when nothing came for so many seconds.")
@key_options
def subscribe(
    endpoint: str,
    stream: str | None,
    label: str | None,
    kinds: tuple[Kind, ...],
    as_json: bool,
    count: int | None,
    timeout: float | None,
    keys: Path | None,
    daemon_key: Path | None,
) -> None:
    """Subscribe to a daemon: a live screen on a terminal, one line a message otherwise.

    Exits with 1 if the --timeout came before the --count, or before anything at all.
    """
    with Subscriber(
        endpoint, stream=stream, kind=kinds or None, label=label, timeout_s=timeout, keys=keys, daemon_key=daemon_key
    ) as subscriber:
        messages = itertools.islice(_until_interrupted(subscriber), count)
        is_live = sys.stdout.isatty() and not as_json
        taken = _watch(messages, subscriber) if is_live else _print(messages, as_json)
        if subscriber.missed:
            click.echo(f"otolith: {subscriber.missed} messages were published but did not arrive", err=True)
    if taken < (count or 1):
        raise OtolithError(f"{endpoint}: {taken} messages, then nothing for {timeout:g} s; is the daemon running?")


def _until_interrupted(messages: Iterable[AnyMessage]) -> Iterator[AnyMessage]:
    """Ctrl-C is how one stops watching, not an error."""
    try:
        yield from messages
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def _print(messages: Iterator[AnyMessage], as_json: bool) -> int:
    from otolith.cli.lines import line_for

    taken = 0
    for taken, message in enumerate(messages, start=1):  # noqa: B007 - the count is what is returned
        line = msgspec.json.encode(as_dict(message)).decode() if as_json else line_for(message)
        print(line, flush=True)
    return taken


def _watch(messages: Iterator[AnyMessage], subscriber: Subscriber) -> int:
    from rich.live import Live

    from otolith.cli.screen import Screen

    screen = Screen()
    taken = 0
    with Live(screen, refresh_per_second=15):
        for taken, message in enumerate(messages, start=1):  # noqa: B007 - as above
            screen.missed = subscriber.missed
            screen.take(message)
    return taken
