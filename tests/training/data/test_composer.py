"""The composer: words where it says they are, streams that repeat by seed, and the truth beside them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from otolith_training.data.composer import Chunk, ClipComposer, Material, Word, change_speed, find_word
from otolith_training.data.material import SoundSet, list_clips, list_runs, load_rows, load_sound
from otolith_training.data.prefetch import prefetched
from otolith_training.data.stitcher import RunStitcher, rotation, three_axis
from otolith_training.fit import clip_composer, rehearsal_streams
from otolith_training.recipe import Clips, Recipe, Runs
from tests.training.small import DATA, motion_recipe, sound_recipe

YES, BACKGROUND = 0, 3
FRAME_S = 0.02


def compose(recipe: Recipe, settings: Clips, seed: int = 3) -> ClipComposer:
    sound = load_sound(recipe, list_clips(recipe, DATA), DATA, "train")
    return clip_composer(recipe, sound, settings, streams=4, frames=50, seed=seed)


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


def test_stitched_runs_carry_their_labels_row_by_row() -> None:
    recipe = motion_recipe()
    rows = load_rows(recipe, list_runs(recipe, DATA), "train")
    still = Runs(rotation_deg=0, scale=0, jitter=0, speed=(1, 1))
    names = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
    stitcher = RunStitcher(rows, still, names, 4, streams=1, frames=100, fresh_start=0.0, seed=0)
    chunks = [stitcher.next() for _ in range(12)]
    values = np.concatenate([chunk.frames[0] for chunk in chunks])
    labels = np.concatenate([chunk.allowed[0].argmax(axis=1) for chunk in chunks])
    truth = {row.tobytes(): label for row, label in zip(rows.runs[0].values, rows.labels[0], strict=True)}
    assert all(truth[row.tobytes()] == label for row, label in zip(values, labels, strict=True))


def test_streams_that_always_start_afresh_on_a_run_are_plain_windows_of_it() -> None:
    recipe = motion_recipe()
    rows = load_rows(recipe, list_runs(recipe, DATA), "train")
    still = Runs(rotation_deg=0, scale=0, jitter=0, speed=(1, 1), start_on_run=1.0)
    names = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
    stitcher = RunStitcher(rows, still, names, 4, streams=3, frames=128, fresh_start=1.0, seed=0)
    chunk = [stitcher.next() for _ in range(3)][-1]
    assert chunk.fresh.all()
    firsts = [run.values[:128].tobytes() for run in rows.runs]
    assert all(stream.tobytes() in firsts for stream in chunk.frames)


def test_three_axes_are_found_by_name_and_turned_without_stretching() -> None:
    assert three_axis(["acc_x", "acc_y", "acc_z", "light", "gyro_x"]) == [[0, 1, 2]]
    turn = rotation(np.random.default_rng(0), 30.0)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
