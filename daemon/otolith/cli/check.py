"""`otolith check`: is this model or settings file whole?"""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Verify a model or settings file.")
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Verify a model file (.onnx) or a settings file (.toml), and say what it promises."""
    if file.suffix == ".toml":
        from otolith.service.check import check_daemon
        from otolith.settings import read_settings

        lines = check_daemon(read_settings(file), str(file))
    else:
        from otolith.cli.lines import lines_for_model
        from otolith.trial import open_model

        lines = lines_for_model(open_model(file))
    for line in lines:
        click.echo(line)
    click.echo(f"{file}: good")
