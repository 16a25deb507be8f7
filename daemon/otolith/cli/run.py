"""`otolith run`: the daemon."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING

import click

from otolith.cli.spec import check_source
from otolith.errors import OtolithError
from otolith.settings import DEFAULT_ENDPOINT, Settings

if TYPE_CHECKING:
    from otolith.service.daemon import Daemon
    from otolith.service.workers.workers import Workers


@click.command(short_help="The daemon: listen and publish.")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--model", metavar="FILE", help="A model file, instead of a settings file.")
@click.option(
    "--source",
    metavar="SPEC",
    callback=check_source,
    help="What to listen to: microphone:, recording:PATH, pipe:, serial:, mqtt://, udp://...",
)
@click.option("--publish", metavar="ENDPOINT", help=f"Where to publish.  [default: {DEFAULT_ENDPOINT}]")
@click.option("--name", metavar="NAME", help="The stream's name.  [default: the model's]")
def run(config: Path | None, model: str | None, source: str | None, publish: str | None, name: str | None) -> None:
    """Listen, and publish predictions until the input ends or a signal comes.

    CONFIG is a settings file (TOML); or name one --model and its --source.

    \b
      otolith run otolith.toml
      otolith run --model words.onnx --source microphone:
      otolith run --model words.onnx --source zmq+tcp://127.0.0.1:7312
      arecord -f S16_LE -r 16000 -t raw | otolith run --model words.onnx --source pipe:
    """
    if (config is None) != bool(model and source) or (config and (model or source or name)):
        raise click.UsageError("give either CONFIG, or both --model and --source")

    from otolith.service.host.logs import start_logging
    from otolith.service.host.systemd import last_words
    from otolith.settings import read_settings, settings_for

    start_logging()
    with last_words():
        if config is not None:
            read = partial(read_settings, config, publish)
            _listen(read(), str(config), read)
        else:
            _listen(settings_for(str(model), str(source), publish, name), "otolith run", None)


def _listen(settings: Settings, where: str, read_again: Callable[[], Settings] | None) -> None:
    from otolith.service.host.descriptors import allow_many

    allow_many()
    daemon = _open(settings, where)
    if read_again is not None:
        _reload_on_hangup(daemon, read_again)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        daemon.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    logging.getLogger("otolith").info("publishing on %s", daemon.endpoint)
    daemon.run()


def _reload_on_hangup(daemon: Daemon | Workers, read: Callable[[], Settings]) -> None:
    """SIGHUP, as `otolith reload`, has the settings read again."""
    daemon.read_settings = read

    def reload() -> None:
        try:
            daemon.reload()
        except OtolithError as error:
            logging.getLogger("otolith").error(  # noqa: TRY400 - it is no bug
                "%s; nothing has changed", error, extra={"event": "reload refused", "reason": str(error)}
            )

    def hear(_signal: int, _frame: FrameType | None) -> None:
        Thread(target=reload, name="reload", daemon=True).start()  # the loop's thread has to go on

    signal.signal(signal.SIGHUP, hear)


def _open(settings: Settings, where: str) -> Daemon | Workers:
    """The daemon as one process, or as several of which this one opens no model."""
    if settings.workers == 1:
        from otolith.trial import Trial

        with Trial() as trial:  # it is ready by the time that what follows is imported
            from otolith.service.assemble import assemble

            return assemble(settings, where, trial=trial)
    from otolith.service.workers.workers import Workers

    return Workers(settings, where)
