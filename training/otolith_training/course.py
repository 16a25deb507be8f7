"""The course: what a recipe's data gives to learn from, and to be measured on while learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from otolith.inference.card import DataSet
from otolith_training.data.augment import Augmentation, make_augmentation
from otolith_training.data.composer import ClipComposer, Seed
from otolith_training.data.datasets import Clip, Run
from otolith_training.data.material import Items, RowSet, SoundSet, describe_sets, load_rows, load_signals, load_sound
from otolith_training.data.prefetch import Composer
from otolith_training.data.signal_stitcher import SignalStitcher
from otolith_training.data.stitcher import RunStitcher
from otolith_training.data.targets import Targets
from otolith_training.data.vectors import begin_vectors
from otolith_training.forecasting import SeriesCourse
from otolith_training.measure.rehearse import ClipRehearsal, Rehearsal, RowRehearsal
from otolith_training.measure.rehearse_signals import SignalRehearsal
from otolith_training.network.cards import make_card
from otolith_training.network.network import Network
from otolith_training.passages import PassageCourse
from otolith_training.recipe import Clips, Recipe, Rows, Runs, Signals, Sound, Spans, Text, Tokens, Utterances
from otolith_training.utterances import UtteranceCourse

REHEARSAL_STREAMS = 16
REHEARSAL_S = 60.0
REHEARSAL_SEED = 7  # the development streams are the same whatever the training's seed

Streams = Callable[[int], Composer]


@dataclass(slots=True)
class Course:
    """What a recipe's kind of data needs to be learned and measured.

    An epoch's streams hang on the seed and its number alone. So a training that is resumed hears what it would have
    heard, and nothing of a composer need be kept. (A tenth of all streams starts afresh at every chunk: none that began
    in one epoch would see much of the next.)
    """

    streams: Streams  # of an epoch; epoch 0's are for the scaling
    rehearsal: Rehearsal
    sets: list[DataSet]
    prepare: Callable[[Network], None] | None = None  # what is set before the first step; None: the scaling alone


def make_course(recipe: Recipe, text: str, items: Items, data: Path) -> Course:
    """Read the data and make the training streams and the rehearsal. Raises `OtolithError`."""
    match recipe.streams:
        case Clips():
            streams, rehearsal = _of_clips(recipe, recipe.streams, text, items, data)
        case Runs():
            streams, rehearsal = _of_runs(recipe, items)
        case Signals():
            streams, rehearsal = _of_signals(recipe, recipe.streams, items)
        case Utterances():
            utterances = UtteranceCourse(recipe, items, data)
            streams, rehearsal = utterances.streams, utterances.rehearsal
        case Text():
            passages = PassageCourse(recipe, items)
            streams, rehearsal = passages.streams, passages.rehearsal
        case Spans():
            series = SeriesCourse(recipe, items)
            return Course(series.streams, series.rehearsal, describe_sets(recipe, items, data), series.prepare)
    prepare = partial(begin_vectors, items=items) if isinstance(recipe.frontend, Tokens) else None
    return Course(streams, rehearsal, describe_sets(recipe, items, data), prepare)


def _of_clips(recipe: Recipe, settings: Clips, text: str, items: Items, data: Path) -> tuple[Streams, Rehearsal]:
    training, clips = recipe.training, [item for item in items if isinstance(item, Clip)]
    assert isinstance(recipe.frontend, Sound)  # noqa: S101 - the recipe was checked for it
    augment = make_augmentation(settings.augmentations, recipe.frontend.sample_rate, data)
    sound = load_sound(recipe, clips, data, "train")
    return (
        lambda epoch: clip_composer(
            recipe, sound, settings, training.batch, training.chunk_frames, (training.seed, epoch), augment
        ),
        _rehearse_clips(recipe, text, load_sound(recipe, clips, data, "dev")),
    )


def _of_runs(recipe: Recipe, items: Items) -> tuple[Streams, Rehearsal]:
    runs = [item for item in items if isinstance(item, Run)]
    rows = load_rows(recipe, runs, "train")
    rehearsal = RowRehearsal(load_rows(recipe, runs, "dev"), recipe.all_labels)
    return lambda epoch: _stitcher(recipe, rows, (recipe.training.seed, epoch)), rehearsal


def _of_signals(recipe: Recipe, settings: Signals, items: Items) -> tuple[Streams, Rehearsal]:
    training, frontend = recipe.training, recipe.frontend
    assert isinstance(frontend, Sound)  # noqa: S101 - the recipe was checked for it

    def stitcher(epoch: int) -> SignalStitcher:
        return SignalStitcher(
            load_signals(recipe, items, "train"),
            settings,
            frontend,
            len(recipe.all_labels),
            streams=training.batch,
            frames=training.chunk_frames,
            fresh_start=training.fresh_start,
            seed=(training.seed, epoch),
        )

    return stitcher, SignalRehearsal(recipe, load_signals(recipe, items, "dev"))


def _stitcher(recipe: Recipe, rows: RowSet, seed: Seed) -> RunStitcher:
    training = recipe.training
    assert isinstance(recipe.frontend, Rows) and isinstance(recipe.streams, Runs)  # noqa: S101, PT018
    return RunStitcher(
        rows,
        recipe.streams,
        [channel.name for channel in recipe.frontend.channels],
        len(recipe.all_labels),
        streams=training.batch,
        frames=training.chunk_frames,
        fresh_start=training.fresh_start,
        seed=seed,
    )


def clip_composer(
    recipe: Recipe,
    sound: SoundSet,
    settings: Clips,
    streams: int,
    frames: int,
    seed: Seed,
    augment: Augmentation | None = None,
) -> ClipComposer:
    """A composer of streams as the recipe's front end takes them; `augment` is what training streams alone have."""
    frontend, labels, data = recipe.frontend, recipe.all_labels, recipe.data
    assert isinstance(frontend, Sound)  # noqa: S101 - the recipe was checked for it
    assert data.background is not None  # noqa: S101
    unknown = None if data.unknown is None else labels.index(data.unknown)
    return ClipComposer(
        sound.material,
        settings,
        Targets(len(labels), labels.index(data.background), unknown),
        sample_rate=frontend.sample_rate,
        hop_length=frontend.hop_length,
        streams=streams,
        frames=frames,
        bands=frontend.bands,
        fresh_start=recipe.training.fresh_start if settings is recipe.streams else 0.0,
        seed=seed,
        augment=augment,
    )


def rehearsal_streams(settings: Clips) -> Clips:
    """Streams to choose an epoch on: what a listener meets, without what only hardens training. Words stand dense:
    there is much to choose and little time."""
    return msgspec.structs.replace(
        settings,
        snr_db=(5.0, 20.0),
        level_db=(-40.0, -15.0),
        gap_s=(0.3, 3.0),
        clean=0.1,
        speech_bed=0.2,
        speed=(1.0, 1.0),
        reverb=0.0,
        equalizer_db=0.0,
        vocal_tract=0.0,
        negative_speed=(1.0, 1.0),
        backwards=0.0,
        start_on_clip=0.0,
    )


def living_streams(settings: Clips) -> Clips:
    """Streams to tell figures of: as for the rehearsal, with as many words as are said where people talk to it all day.

    One taken for another is an alarm, so a rate of alarms hangs on how many are said: here one in six seconds.
    """
    return msgspec.structs.replace(rehearsal_streams(settings), gap_s=(1.0, 10.0))


def _rehearse_clips(recipe: Recipe, text: str, sound: SoundSet) -> ClipRehearsal:
    assert isinstance(recipe.frontend, Sound) and isinstance(recipe.streams, Clips)  # noqa: S101, PT018
    frames = recipe.frontend.sample_rate // recipe.frontend.hop_length * 2
    settings = rehearsal_streams(recipe.streams)
    composer = clip_composer(recipe, sound, settings, REHEARSAL_STREAMS, frames, REHEARSAL_SEED)
    return ClipRehearsal(sound, composer, round(REHEARSAL_S / 2), make_card(recipe, text))
