"""Batches of whole utterances: padded, and counted where their label must be known."""

from __future__ import annotations

import numpy as np

from otolith_training.data.utterances import UtteranceComposer, UtteranceSet, VariedSound, as_they_are
from otolith_training.recipe import Utterances

LINES = [np.arange(1, length + 1) for length in (1, 2, 3, 5, 8)]


def composer(streams: int = 4, seed: int = 0, known_after: float = 1.0, longest: int = 10) -> UtteranceComposer:
    utterances = UtteranceSet(LINES, np.array([0, 1, 0, 1, 0]))
    settings = Utterances(known_after=known_after)
    return UtteranceComposer(utterances, settings, as_they_are, 2, streams=streams, longest=longest, seed=seed)


def test_each_comes_once_before_any_comes_again_and_starts_afresh() -> None:
    batches = composer(streams=5)
    for _ in range(3):
        chunk = batches.next()
        assert (chunk.frames > 0).sum(axis=1).tolist() == [1, 2, 3, 5, 8]
        assert chunk.fresh.all()
        assert chunk.frames.dtype == np.int64


def test_only_the_last_frame_is_counted_and_padding_may_be_called_anything() -> None:
    chunk = composer().next()
    for row, allowed in zip(chunk.frames, chunk.allowed, strict=True):
        length = int((row > 0).sum())
        counted = np.flatnonzero(~allowed.all(axis=1))
        assert counted.tolist() == [length - 1]
        assert allowed[length - 1].sum() == 1


def test_a_label_that_must_be_known_earlier_is_counted_from_there() -> None:
    chunk = composer(known_after=0.5).next()
    for row, allowed in zip(chunk.frames, chunk.allowed, strict=True):
        length = int((row > 0).sum())
        assert (~allowed.all(axis=1)).sum() == length - min(length - 1, round(length / 2))


def test_of_a_longer_one_the_last_frames_are_learned_from() -> None:
    frames = composer(streams=5, longest=4).next().frames
    assert frames.shape == (5, 4)
    assert [5, 6, 7, 8] in frames.tolist()


def test_the_same_seed_gives_the_same_batches() -> None:
    one, same, other = (composer(seed=seed) for seed in (1, 1, 2))
    rows = [[of.next().frames.tolist() for _ in range(5)] for of in (one, same, other)]
    assert rows[0] == rows[1] != rows[2]


def test_a_clip_is_followed_by_the_silence_that_ends_it() -> None:
    vary = VariedSound(Utterances(silence_s=0.5), [], rate=8000, hop_length=160)
    clip = np.full(1600, 0.5, np.float32)
    hops, behind = zip(*(vary(np.random.default_rng(seed), clip) for seed in range(20)), strict=True)
    assert all(np.allclose(frames[:10], 0.5) for frames in hops)
    assert all(not frames[11:].any() for frames in hops)
    assert [len(frames) - 10 for frames in hops] == list(behind)
    assert 0 <= min(behind) < max(behind) <= 25
