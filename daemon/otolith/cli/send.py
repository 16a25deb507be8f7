"""`otolith send`: live samples of this machine, to a daemon that listens elsewhere."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from threading import Event
from types import FrameType

import click

from otolith.cli.keys import key_options
from otolith.cli.spec import check_spec
from otolith.settings import DEFAULT_INGEST


@click.command(short_help="Send live samples to a daemon.")
@click.argument("spec", callback=check_spec)
@click.argument("endpoint", default=DEFAULT_INGEST)
@click.option("--stream", required=True, metavar="NAME", help="The stream's name; the daemon's routes go by it.")
@click.option(
    "--channels", metavar="A,B,...", help="Send sensor rows: these columns, in the order of the model's card."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, max=1_000_000, min_open=True),
    help="Rows a second, of a pipe: with --channels.",
)
@key_options
def send(
    spec: str,
    endpoint: str,
    stream: str,
    channels: str | None,
    rate: float | None,
    keys: Path | None,
    daemon_key: Path | None,
) -> None:
    """Send what SPEC gives to the daemon at ENDPOINT, as it comes, until it ends or a signal comes.

    \b
      otolith send microphone: --stream kitchen
      arecord -f S16_LE -r 48000 -t raw | otolith send pipe:?rate=48000 --stream kitchen
      otolith send recording:pump.csv --stream pump --channels acc_x,acc_y,acc_z

    A recording goes at the pace at which it was recorded. While the daemon is away, a microphone's sound is lost (and
    counted); a recording or a pipe waits, for ten seconds.
    """
    stop = Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)

    from otolith.service.sending import form_of, open_for
    from otolith.service.sending import send as send_all
    from otolith.sources.source import Spec
    from otolith.wire.producer import Producer

    logging.basicConfig(level=logging.INFO, format="otolith: %(message)s")
    form = form_of(channels.split(",") if channels else [], rate)
    source = open_for(Spec.parse(spec), form)
    producer = Producer(
        endpoint,
        stream=stream,
        rate=source.rate,
        kind=form.kind,
        channels=form.width,
        keys=keys,
        daemon_key=daemon_key,
    )
    send_all(source, producer, stop)
