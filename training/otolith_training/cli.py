"""The trainer's commands: arguments in, one call, a few lines out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

COMMANDS = {
    "train": "otolith_training.cli:train",
    "compose": "otolith_training.cli:compose",
    "crossvalidate": "otolith_training.cli:crossvalidate",
    "compare": "otolith_training.cli:compare",
    "evaluate": "otolith_training.cli:evaluate",
    "calibrate": "otolith_training.cli:calibrate",
    "synthesize": "otolith_training.cli:synthesize",
    "retrain": "otolith_training.cli:retrain",
    "data": "otolith_training.cli:data",
}


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), default=Path(), help="Folder that the recipe's paths are in.")
@click.option("--out", type=click.Path(path_type=Path), help="Model file to write.  [default: NAME.onnx]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="In place of the recipe's.")
@click.option("--runs", type=click.Path(path_type=Path), metavar="DIR", help="Folder of logs.  [default: NAME.runs]")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint, as if it had never been stopped.")
def train(recipe: Path, data: Path, out: Path | None, seed: int | None, runs: Path | None, resume: bool) -> None:
    """Train a network as RECIPE (TOML) says, and export it as one model file with its card.

    Each training logs its epochs in a numbered folder, with a checkpoint. Ctrl-C ends it early: the best epoch so far
    is exported.
    """
    from rich.console import Console

    from otolith_training.train import train as run

    run(recipe, data, out, seed, Console(stderr=True), runs, resume)


@click.command(short_help="Train and measure on every speaker in turn.")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), default=Path(), help="Folder that the recipe's paths are in.")
@click.option("--folds", type=click.IntRange(min=2), help="How many models to train.  [default: 5]")
@click.option("--leave-one-out", is_flag=True, help="A fold a speaker or subject.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="In place of the recipe's.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for models and figures.  [default: NAME-folds]")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def crossvalidate(
    recipe: Path,
    data: Path,
    folds: int | None,
    leave_one_out: bool,
    seed: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Train RECIPE once a fold and measure each model on the speakers or subjects that it never met.

    Every one is held out once; the set's own splits are not used. The same command goes on where it was stopped.
    """
    from rich.console import Console

    from otolith_training.crossvalidate import crossvalidate as run
    from otolith_training.crossvalidate import print_crossvalidation

    figures = run(recipe, data, out, folds, leave_one_out, seed, Console(stderr=True))
    if as_json:
        click.echo(json.dumps(figures))
    else:
        print_crossvalidation(figures, Console())


@click.command(short_help="Train each kind of cell alike, and tell which when.")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--cells", default="rnn,lstm,gru", show_default=True, help="Which, with commas between.")
@click.option("--bidirectional", is_flag=True, help="The recipe's own reading both ways, too.")
@click.option("--data", type=click.Path(path_type=Path), default=Path(), help="Folder that the recipe's paths are in.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="In place of the recipe's.")
@click.option("--epochs", type=click.IntRange(1, 100_000), help="In place of the recipe's.")
@click.option("--steps", type=click.IntRange(1, 1_000_000), help="Of an epoch, in place of the recipe's.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for figures and models.  [default: NAME-cells]")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def compare(
    recipe: Path,
    cells: str,
    bidirectional: bool,
    data: Path,
    seed: int | None,
    epochs: int | None,
    steps: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Train RECIPE once a recurrent cell, on the same data for as many steps, and measure what each is worth.

    One table and one plot: parameters, accuracy, how far back gradients reach, and what a step costs in the runtime.
    The same command goes on where it was stopped.
    """
    from rich.console import Console

    from otolith_training.compare import Budget, compare_cells, print_comparison

    budget = Budget(epochs, steps, seed)
    figures = compare_cells(recipe, data, out, cells, bidirectional, budget, Console(stderr=True))
    if as_json:
        click.echo(json.dumps(figures))
    else:
        print_comparison(figures, Console())


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Recordings: a folder or a packed file.")
@click.option("--split", help="train, dev, test or all.  [default: test where there are splits]")
@click.option("--soak", is_flag=True, help="Again after 1, 10 and 60 minutes of carried state.")
@click.option(
    "--compare", type=click.Path(path_type=Path), metavar="OTHER_MODEL", help="A model to put beside, paired."
)
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE.html", help="Write all of it as one page.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def evaluate(
    model: Path, data: Path, split: str | None, soak: bool, compare: Path | None, report: Path | None, as_json: bool
) -> None:
    """Measure MODEL over recordings with the daemon's own stream.

    Clips and rows are told apart; long recordings (a folder with events.csv) are listened through, for misses and
    false alarms.
    """
    from rich.console import Console
    from rich.progress import Progress

    from otolith_training.measure.evaluate import evaluate as run
    from otolith_training.measure.long_tables import print_evaluation

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("listening", total=None)
        figures: dict[str, Any] = run(
            model,
            data,
            split,
            lambda done, total: progress.update(bar, completed=done, total=total),
            soaked=soak,
            other=compare,
            report=report,
        )
    if as_json:
        click.echo(json.dumps(figures))
    else:
        print_evaluation(figures, Console())


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...", type=click.Path(path_type=Path))
@click.option(
    "--false-alarms-per-hour", "budget", type=click.FloatRange(0, min_open=True), default=0.5, show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), metavar="SETTINGS.toml", help="Write settings for the daemon.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def calibrate(model: Path, recordings: tuple[Path, ...], budget: float, out: Path | None, as_json: bool) -> None:
    """Fit MODEL's thresholds to a room's own sound.

    RECORDINGs are hours of it in which none of the labels occurs: whatever is detected there is a false alarm. Prints
    lines for the daemon's settings, and says how sure one can be of them.
    """
    from rich.console import Console
    from rich.progress import Progress

    from otolith_training.measure.calibrate import calibrate_file

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("listening", total=None)
        calibrated = calibrate_file(
            model, recordings, budget, out, lambda done, total: progress.update(bar, completed=done, total=total)
        )
    if as_json:
        click.echo(json.dumps(calibrated.figures))
    else:
        click.echo(calibrated.text)


@click.command()
@click.argument("phrase", metavar="WORDS")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to make, or to go on with.")
@click.option("--count", type=click.IntRange(1, 100_000), default=200, show_default=True, help="Clips of WORDS.")
@click.option("--similar", type=click.IntRange(0, 100_000), help="Clips of what sounds like them.  [default: as many]")
@click.option("--label", help="Name of the folder of WORDS.  [default: the words, joined by _]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True)
def synthesize(phrase: str, out: Path, count: int, similar: int | None, label: str | None, seed: int) -> None:
    """Make a data set from WORDS alone, in synthetic voices.

    Every English voice that is installed speaks them, and phrases that sound like them, into a folder that the trainer
    reads. Clips that are there are kept: the same command goes on where it was stopped, a larger --count adds to them.
    """
    from rich.console import Console

    from otolith_training.data.synthesize import synthesize as run

    run(phrase, out, count, count if similar is None else similar, label, seed, Console(stderr=True))


@click.command(short_help="Teach a model from new recordings.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--add", type=click.Path(path_type=Path), required=True, help="New recordings, laid out as for train.")
@click.option("--data", type=click.Path(path_type=Path), default=Path(), help="Folder that the old recordings are in.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write.  [default: MODEL; its parent is kept]")
@click.option("--force", is_flag=True, help="Take the new model even where it is worse.")
def retrain(model: Path, add: Path, data: Path, out: Path | None, force: bool) -> None:
    """Teach MODEL from new recordings, mixed with those it learned from; labels it does not know are added.

    The result is held against its parent on the same held-out recordings, and refused (exit 1) where it is worse.
    """
    from rich.console import Console

    from otolith_training.retrain import retrain as run

    run(model, add, data, out, force, Console(stderr=True))


@click.command(short_help="Compose long recordings to measure a model on.")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), default=Path(), help="Folder that the recipe's paths are in.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option("--split", type=click.Choice(["train", "dev", "test"]), default="test", show_default=True)
@click.option("--hours", type=click.FloatRange(0, 1000, min_open=True), default=1.0, show_default=True)
@click.option("--snr", type=(float, float), metavar="LOW HIGH", help="Words over background, dB.  [default: 5 20]")
@click.option("--gap", type=(float, float), metavar="LOW HIGH", help="Between words, seconds.  [default: 1 10]")
@click.option("--speech", type=click.Path(path_type=Path), multiple=True, help="Folder of other speech; repeatable.")
@click.option("--noise", type=click.Path(path_type=Path), multiple=True, help="Folder of other noise; repeatable.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True)
def compose(
    recipe: Path,
    data: Path,
    out: Path,
    split: Any,
    hours: float,
    snr: tuple[float, float] | None,
    gap: tuple[float, float] | None,
    speech: tuple[Path, ...],
    noise: tuple[Path, ...],
    seed: int,
) -> None:
    """Compose recordings with events of the clips that RECIPE holds out, for `otolith evaluate`.

    Words stand at random times over the recipe's own held-out backgrounds and what --speech and --noise add.
    """
    from rich.console import Console

    from otolith_training.compose import Order
    from otolith_training.compose import compose as run

    run(recipe, data, out, Order(split, hours, seed, snr, gap, speech, noise), Console(stderr=True))


@click.group(short_help="Fetch the public sets that recipes learn from.")
def data() -> None:
    """Fetch the public sets that recipes learn from."""


@data.command("list")
@click.option("--into", type=click.Path(path_type=Path), help="Data folder.  [default: otolith/data in your cache]")
def list_sets(into: Path | None) -> None:
    """List the sets: what, how large, whose, and whether it is here."""
    from rich.console import Console

    from otolith_training.data.fetch import table_of_sets

    Console().print(table_of_sets(into))


@data.command("get")
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), help="Data folder.  [default: otolith/data in your cache]")
@click.option("--from", "mirror", metavar="URL", help="Another address of the same archive (a folder ends in /).")
def get_set(name: str, into: Path | None, mirror: str | None) -> None:
    """Download the set NAME, check it, and lay it out as recipes read it.

    A download that is broken off goes on where it was when the same command is run again.
    """
    from rich.console import Console

    from otolith_training.data.catalogue import find_set
    from otolith_training.data.fetch import fetch

    fetch(find_set(name), into, mirror, Console(stderr=True))
