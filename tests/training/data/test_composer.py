"""The composer: words where it says they are, streams that repeat by seed, and the truth beside them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from otolith_training.course import clip_composer, rehearsal_streams
from otolith_training.data.augment import Augmentation
from otolith_training.data.composer import Chunk, ClipComposer
from otolith_training.data.material import SoundSet, list_clips, load_sound
from otolith_training.data.prefetch import prefetched
from otolith_training.data.sounds import change_speed
from otolith_training.data.words import Material, Word, find_word, turned
from otolith_training.recipe import Clips, Recipe
from tests.training.small import DATA, sound_recipe

YES, BACKGROUND = 0, 3
FRAME_S = 0.02


def compose(recipe: Recipe, settings: Clips, seed: int = 3, augment: Augmentation | None = None) -> ClipComposer:
    sound = load_sound(recipe, list_clips(recipe, DATA), DATA, "train")
    return clip_composer(recipe, sound, settings, streams=4, frames=50, seed=seed, augment=augment)


def training_chunks(count: int, seed: int = 3) -> list[Chunk]:
    recipe = sound_recipe()
    assert isinstance(recipe.streams, Clips)
    composer = compose(recipe, recipe.streams, seed)
    return [composer.next() for _ in range(count)]


def test_the_same_seed_gives_the_same_streams_and_another_seed_others() -> None:
    first, again, other = (training_chunks(3, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[2].frames, other[2].frames)


def test_every_frame_may_be_called_something_and_none_everything() -> None:
    for chunk in training_chunks(8):
        assert chunk.frames.shape == (4, 50, 320)
        assert np.abs(chunk.frames).max() <= 1
        counts = chunk.allowed.sum(axis=-1)
        assert counts.min() >= 1
        assert counts.max() < 4


def test_a_word_must_be_told_where_it_was_placed_and_not_before_it_began() -> None:
    recipe = sound_recipe()
    assert isinstance(recipe.streams, Clips)
    composer = compose(recipe, rehearsal_streams(recipe.streams))
    chunks = [composer.next() for _ in range(20)]
    allowed = np.concatenate([chunk.allowed for chunk in chunks], axis=1)
    spoken = [word for chunk in chunks for word in chunk.spoken if word.end < 19 * 50 * 320]
    assert len(spoken) > 10
    for word in spoken:
        told = round(word.end / 320) + 3
        assert np.flatnonzero(allowed[word.stream, told]).tolist() == [word.label]
    quiet = ~allowed[:, :, :3].any(axis=-1)
    assert 0.1 < quiet.mean() < 0.9


def test_the_first_chunk_of_every_stream_is_fresh() -> None:
    chunks = training_chunks(2)
    assert chunks[0].fresh.all()
    assert not chunks[1].fresh.all()


@pytest.mark.parametrize("word", range(9))
def test_a_word_is_found_where_its_clip_is_loud(clips: list[NDArray[np.float32]], word: int) -> None:
    samples = clips[word]
    start, end = find_word(samples, 16000)
    assert 0.1 < (end - start) / 16000 < 1.0
    energy = np.square(samples)
    assert energy[start:end].sum() > 0.9 * energy.sum()


def test_a_clip_of_any_length_can_be_placed(clips: list[NDArray[np.float32]]) -> None:
    recipe = sound_recipe()
    assert isinstance(recipe.streams, Clips)
    long = Word(np.concatenate(clips), 1000, 140_000, YES)
    short = Word(clips[0][:200], 0, 200, 1)
    sound = SoundSet(Material([[long], [short], [], []], [clips[1]], []), [])
    composer = clip_composer(recipe, sound, recipe.streams, streams=4, frames=25, seed=0)
    spoken = [word for _ in range(40) for word in composer.next().spoken]
    assert {word.label for word in spoken} == {YES, 1}
    assert max(word.end - word.start for word in spoken) <= 3 * 16000


def test_augmented_words_stand_where_they_did_and_sound_otherwise() -> None:
    recipe = sound_recipe()
    assert isinstance(recipe.streams, Clips)
    settings = msgspec.structs.replace(recipe.streams, negatives=0.0, start_on_clip=0.0, reverb=0.0)
    clipped = Augmentation([{"type": "TanhDistortion", "min_distortion": 0.5, "p": 1.0}], 16000, DATA)
    first, again = (compose(recipe, settings, augment=clipped) for _ in range(2))
    chunks = [first.next() for _ in range(8)]
    assert all(np.array_equal(chunk.frames, again.next().frames) for chunk in chunks)
    frames = np.concatenate([chunk.frames.reshape(4, -1) for chunk in chunks], axis=1)
    words = [w for chunk in chunks for w in chunk.spoken if w.end < frames.shape[1]]
    assert len(words) > 5
    loud = [np.square(frames[w.stream, w.start : w.end]).mean() for w in words]
    crest = [np.abs(frames[w.stream, w.start : w.end]).max() / np.sqrt(e) for w, e in zip(words, loud, strict=True)]
    assert np.median(crest) < 3  # as they were recorded: 4.4


def test_a_scene_keeps_its_vocal_tract_and_the_sound_is_the_same_without_one() -> None:
    recipe = sound_recipe()
    assert isinstance(recipe.streams, Clips)
    settings = msgspec.structs.replace(recipe.streams, vocal_tract=0.1, scene_s=(3.0, 3.0))
    composer = compose(recipe, settings)
    warps = np.stack([chunk.warp for chunk in (composer.next() for _ in range(12)) if chunk.warp is not None])
    assert warps.shape == (12, 4)
    assert 0.9 <= warps.min() < warps.max() <= 1.1
    assert 0 < (np.diff(warps, axis=0) != 0).mean() < 0.7
    assert all(chunk.warp is None for chunk in training_chunks(2))


def test_a_clip_played_faster_is_shorter(clips: list[NDArray[np.float32]]) -> None:
    assert len(change_speed(clips[0], 1.25, 16000)) == pytest.approx(12800, abs=2)


def test_chunks_come_in_order_and_a_failing_composer_is_heard_of() -> None:
    class Failing:
        def __init__(self) -> None:
            self.count = 0

        def next(self) -> Chunk:
            self.count += 1
            if self.count == 3:
                raise RuntimeError("no more")
            return Chunk(np.full((1, 1, 1), self.count, np.float32), np.ones((1, 1, 1), bool), np.ones(1, bool))

    with prefetched(Failing()) as chunks:
        assert [int(next(chunks).frames[0, 0, 0]) for _ in range(2)] == [1, 2]
        with pytest.raises(RuntimeError, match="no more"):
            next(chunks)


def test_a_word_played_backwards_is_no_word() -> None:
    recipe = sound_recipe()
    assert isinstance(recipe.streams, Clips)
    settings = msgspec.structs.replace(recipe.streams, negatives=0.0, backwards=1.0, start_on_clip=0.0)
    composer = compose(recipe, settings)
    chunks = [composer.next() for _ in range(8)]
    allowed = np.concatenate([chunk.allowed for chunk in chunks], axis=1)
    assert not any(chunk.spoken for chunk in chunks)
    assert not allowed[:, :, [0, 1]].any()  # neither of the words
    assert 0.3 < allowed[:, :, 2].mean() < 1  # unknown is right while it is heard
    assert allowed[:, :, BACKGROUND].all()


def test_a_turned_word_lies_as_far_from_the_end_as_it_lay_from_the_start() -> None:
    word = turned(Word(np.arange(10, dtype=np.float32), 2, 5, YES))
    assert (word.start, word.end) == (5, 8)
    assert word.samples[5:8].tolist() == [4, 3, 2]


@pytest.mark.parametrize(("speed", "heard_hz"), [(1.0, 1000), (1.5, 1500)])
def test_other_sounds_are_played_at_the_speed_asked_for(speed: float, heard_hz: float) -> None:
    recipe = sound_recipe()
    assert isinstance(recipe.streams, Clips)
    settings = msgspec.structs.replace(
        recipe.streams, negatives=1.0, clean=1.0, start_on_clip=0.0, negative_speed=(speed, speed)
    )
    tone = np.sin(2 * np.pi * 1000 * np.arange(5 * 16000) / 16000).astype(np.float32)
    sound = SoundSet(Material([[], [], [], []], [tone], []), [])
    composer = clip_composer(recipe, sound, settings, streams=4, frames=50, seed=3)
    samples = np.concatenate([composer.next().frames.reshape(4, -1) for _ in range(4)], axis=1)
    spectrum = np.abs(np.fft.rfft(samples, axis=1)).sum(axis=0)
    assert spectrum.argmax() * 16000 / samples.shape[1] == pytest.approx(heard_hz, abs=5)
