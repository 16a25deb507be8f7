"""The `otolith` command: finds each subcommand in a file of its own, and only when it is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

import click

from otolith.errors import OtolithError

COMMANDS = {
    "run": "otolith.cli.run:run",
    "subscribe": "otolith.cli.subscribe:subscribe",
    "send": "otolith.cli.send:send",
    "infer": "otolith.cli.infer:infer",
    "generate": "otolith.cli.generate:generate",
    "devices": "otolith.cli.devices:devices",
    "check": "otolith.cli.check:check",
    "status": "otolith.cli.status:status",
    "reload": "otolith.cli.reload:reload",
    "keys": "otolith.cli.keys:keys",
    "service": "otolith.cli.service:service",
    "replay": "otolith.cli.replay:replay",
    "forget": "otolith.cli.forget:forget",
}
TRAINING = "otolith_training.cli"
TRAINING_EXTRA = "the training extra: pip install 'otolith[training]'"
TRAINING_MODULES = ("torch", "librosa", "onnx", "sklearn")


class CommandFinder(click.Group):
    """A group whose commands are imported when they are named: `otolith run` never pays for the rest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order a user meets them."""
        return [*COMMANDS, *_training_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, if there is one."""
        if cmd_name in COMMANDS:
            return _load(COMMANDS[cmd_name])
        training = _training_commands()
        if cmd_name not in training:
            return None
        if missing := [name for name in TRAINING_MODULES if find_spec(name) is None]:
            return _command_without_training(cmd_name, missing)
        return _load(training[cmd_name])


@click.group(cls=CommandFinder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="otolith", prog_name="otolith")
def otolith() -> None:
    """Hear and feel as it happens: step GRU models on live sound and motion, and publish what they predict."""


def _command_without_training(name: str, missing: list[str]) -> click.Command:
    """What stands for a command of the trainer where the training extra is not installed."""

    @click.command(name, context_settings={"ignore_unknown_options": True}, help=f"Needs {TRAINING_EXTRA}.")
    @click.argument("arguments", nargs=-1, expose_value=False)
    def explain() -> None:
        raise OtolithError(f"{name}: {', '.join(missing)} not found; install {TRAINING_EXTRA}")

    return explain


def main() -> None:
    """Run the command line; an `OtolithError` becomes one line and its exit code."""
    try:
        otolith(prog_name="otolith")
    except OtolithError as error:
        click.echo(f"{_mark()}otolith: {error}", err=True)
        sys.exit(error.exit_code)


def _mark() -> str:
    """Systemd's sign of an error, where a line goes to its journal."""
    from otolith.service.host.logs import is_journal

    return "<3>" if is_journal(sys.stderr.fileno()) else ""


def _load(target: str) -> click.Command:
    module, _, name = target.partition(":")
    command: click.Command = getattr(import_module(module), name)
    return command


def _training_commands() -> dict[str, str]:
    """The trainer's commands: the one place in the daemon that knows there is a trainer."""
    commands: dict[str, str] = import_module(TRAINING).COMMANDS
    return commands
