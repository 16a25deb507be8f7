"""`otolith train` and `otolith evaluate`: arguments in, one call, a few lines out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

COMMANDS = {"train": "otolith_training.cli:train", "evaluate": "otolith_training.cli:evaluate"}


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), default=Path(), help="Folder that the recipe's paths are in.")
@click.option("--out", type=click.Path(path_type=Path), help="Model file to write.  [default: NAME.onnx]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="In place of the recipe's.")
def train(recipe: Path, data: Path, out: Path | None, seed: int | None) -> None:
    """Train a network as RECIPE (TOML) says, and export it as one model file with its card.

    Ctrl-C ends the training early: the best epoch so far is exported.
    """
    from rich.console import Console

    from otolith_training.train import train as run

    run(recipe, data, out, seed, Console(stderr=True))


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Recordings: a folder or a packed file.")
@click.option("--split", help="train, dev, test or all.  [default: test where there are splits]")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def evaluate(model: Path, data: Path, split: str | None, as_json: bool) -> None:
    """Measure MODEL over recordings with the daemon's own stream."""
    from rich.console import Console
    from rich.progress import Progress

    from otolith_training.measure.evaluate import evaluate as run
    from otolith_training.measure.tables import print_figures

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("listening", total=None)
        figures: dict[str, Any] = run(
            model, data, split, lambda done, total: progress.update(bar, completed=done, total=total)
        )
    if as_json:
        click.echo(json.dumps(figures))
    else:
        print_figures(figures, Console())
