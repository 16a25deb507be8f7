"""`otolith generate`: a model runs freely, on from a prompt or from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from otolith.inference.card import Tokens
    from otolith.inference.model import Model


@click.command(short_help="Let a model run freely.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--prompt",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Text, or a sensor recording, to go on from.  [default: nothing]",
)
@click.option("--steps", type=click.IntRange(1, 1_000_000), required=True, help="How many tokens, or rows.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Below 1 safer, 0 the likeliest each time.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True)
def generate(model: Path, prompt: Path | None, steps: int, temperature: float, seed: int) -> None:
    """Let MODEL, which forecasts tokens or rows, run on: what it holds likely next is drawn, and given back to it.

    \b
      otolith generate characters.onnx --steps 400 --temperature 0.7
      otolith generate characters.onnx --prompt beginning.txt --steps 400
      otolith generate load.onnx --prompt last_week.csv --steps 168 > a_week.csv
    """
    from otolith.errors import UsageError
    from otolith.inference.card import Tokens
    from otolith.trial import open_model

    opened = open_model(model)
    if opened.card.task != "forecast":
        raise UsageError(
            f"{model}: a model of task {opened.card.task} tells what it hears; only one of task forecast can run on"
        )
    if isinstance(tokens := opened.card.tokens, Tokens):
        _write_text(opened, tokens, prompt, steps, temperature, seed)
    else:
        _write_rows(opened, prompt, steps, temperature, seed)


def _write_text(model: Model, tokens: Tokens, prompt: Path | None, steps: int, heat: float, seed: int) -> None:
    from otolith.inference.generator import continue_tokens
    from otolith.inference.tokenizer import Tokenizer
    from otolith.recordings import read_text

    tokenizer = Tokenizer(tokens)
    ids = tokenizer.encode_text("" if prompt is None else read_text(prompt))
    for piece in tokenizer.decode(continue_tokens(model, ids, steps, heat, seed)):
        click.echo(piece, nl=False)
    click.echo()


def _write_rows(model: Model, prompt: Path | None, steps: int, heat: float, seed: int) -> None:
    """As CSV that `recording:` and the trainer read: seconds from the first row that was drawn, then the channels."""
    import numpy as np

    from otolith.inference.generator import continue_rows
    from otolith.recordings import read_sensor

    names = [channel.name for channel in model.card.channels]
    rows = np.empty((0, len(names)), np.float32) if prompt is None else read_sensor(prompt).select(names)
    click.echo(",".join(["t", *names]))
    for number, row in enumerate(continue_rows(model, rows, steps, heat, seed)):
        click.echo(",".join([f"{number / model.card.sample_rate:g}", *(f"{value:.6g}" for value in row.tolist())]))
