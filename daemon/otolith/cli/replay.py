"""`otolith replay`: a recording is heard again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from otolith.errors import OtolithError
from otolith.wire.messages import KINDS, Kind, as_dict, kind_of

if TYPE_CHECKING:
    from otolith.inference.model import Model
    from otolith.service.recording.replay import Stretch


@click.command(short_help="Hear a recording again, with its model or another.")
@click.argument("folder", metavar="RECORDING_DIR", type=click.Path(path_type=Path))
@click.option(
    "--model", "other", metavar="OTHER", help="What would another model have said?  [default: the one that heard it]"
)
@click.option("--stream", metavar="S", help="Only this stream.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only these kinds of message.")
@click.option("--json", "as_json", is_flag=True, help="The wire's messages, one JSON object a line.")
@click.option("--verify", is_flag=True, help="Hold it against what was published; exits with 1 at a difference.")
@click.pass_context
def replay(
    ctx: click.Context,
    folder: Path,
    other: str | None,
    stream: str | None,
    kinds: tuple[Kind, ...],
    as_json: bool,
    verify: bool,
) -> None:
    """Hear what a flight recorder wrote to RECORDING_DIR (the folder of [recorder], or a stream's in it).

    The very same predictions come out again, from the state in which the recording began. Another model begins with
    nothing, as it would have.
    """
    from otolith.service.recording.replay import read_stretches, replay
    from otolith.trial import open_model

    if verify and other:
        raise click.UsageError("--verify holds the model that heard it against what it published; leave out --model")
    model = open_model(other) if other else None
    known: dict[str, Model] = {}
    is_same, wanted = True, kinds or (KINDS if as_json else ("detection", "anomaly", "gap"))
    heard = 0
    for stretch in read_stretches(folder, stream):
        heard += 1
        if verify:
            is_same &= _verify(stretch, _own(stretch, known))
            continue
        try:
            for message in replay(stretch, model, None if model else _own(stretch, known)):
                if kind_of(message) in wanted:
                    _print(message, as_json)
        except OtolithError as error:  # the other streams may fit the model
            click.echo(f"otolith: {error}", err=True)
            is_same = False
    if not heard:
        raise OtolithError(f"{folder}: nothing that can be read is recorded of {stream or 'any stream'}")
    ctx.exit(0 if is_same else 1)


def _own(stretch: Stretch, known: dict[str, Model]) -> Model:
    """The model that heard it, opened once."""
    from otolith.service.recording.taping import find_model

    digest = stretch.first.opening.digest
    if digest not in known:
        known[digest] = find_model(stretch.first.log.parent, digest)
    return known[digest]


def _verify(stretch: Stretch, model: Model) -> bool:
    from otolith.service.recording.replay import read_told, replay
    from otolith.service.recording.verify import compare

    opening = stretch.first.opening
    verdict = compare(read_told(stretch), replay(stretch, None, model), is_whole=stretch.how in ("ended", "suspended"))
    samples = sum(heard.count for segment in stretch.segments for heard in segment.heard)
    length = f"{samples / opening.rate:.1f} s" if opening.rate else f"{samples} rows"
    missed = f", behind a hole of {opening.missed} samples" if opening.missed else ""
    what = f"{opening.stream} from {stretch.first.log.stem}: {length}{missed}"
    if verdict.difference:
        click.echo(f"{what}: differs: {verdict.difference}")
        return False
    click.echo(f"{what}: the same, {verdict.frames} frames and {verdict.events} events")
    return True


def _print(message: object, as_json: bool) -> None:
    from otolith.cli.lines import line_for
    from otolith.wire.messages import Message

    assert isinstance(message, Message)  # noqa: S101
    click.echo(msgspec.json.encode(as_dict(message)).decode() if as_json else line_for(message))
