"""`otolith generate`: a model runs freely, on from a prompt or from nothing."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Let a model run freely.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--prompt", type=click.Path(path_type=Path), metavar="FILE", help="Text to go on from.  [default: nothing]"
)
@click.option("--steps", type=click.IntRange(1, 1_000_000), required=True, help="How many tokens.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Below 1 safer, 0 the likeliest each time.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True)
def generate(model: Path, prompt: Path | None, steps: int, temperature: float, seed: int) -> None:
    """Let MODEL, which forecasts tokens, write on: what it holds likely next is drawn, and given back to it.

    \b
      otolith generate characters.onnx --steps 400 --temperature 0.7
      otolith generate characters.onnx --prompt beginning.txt --steps 400
    """
    from otolith.errors import UsageError
    from otolith.inference.card import Tokens
    from otolith.inference.generator import continue_tokens
    from otolith.inference.model import Model
    from otolith.inference.tokenizer import Tokenizer
    from otolith.recordings import read_text

    opened = Model.open(model)
    tokens, task = opened.card.tokens, opened.card.task
    if not isinstance(tokens, Tokens) or task != "forecast":
        raise UsageError(
            f"{model}: a {opened.card.kind} model of task {task} tells what it hears; only one that forecasts tokens "
            "can write on"
        )
    tokenizer = Tokenizer(tokens)
    ids = tokenizer.encode_text("" if prompt is None else read_text(prompt))
    for piece in tokenizer.decode(continue_tokens(opened, ids, steps, temperature, seed)):
        click.echo(piece, nl=False)
    click.echo()
