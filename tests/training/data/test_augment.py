"""Augmentation by audiomentations: what a recipe may name, and that it repeats, keeps lengths and disturbs nobody."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from otolith.errors import OtolithError, SettingsError
from otolith_training.data.augment import Augmentation, make_augmentation
from tests.training.small import DATA

PHONE: list[dict[str, object]] = [
    {"type": "TanhDistortion", "min_distortion": 0.1, "max_distortion": 0.5, "p": 1.0},
    {"type": "BandPassFilter", "min_center_freq": 500.0, "max_center_freq": 2000.0},
    {"type": "PitchShift", "min_semitones": -2.0, "max_semitones": 2.0},
    {"type": "AddGaussianSNR"},
]
Floats = NDArray[np.float32]
reads_files = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # of a reader that librosa loads and we never use


def augmentation(*settings: Mapping[str, object]) -> Augmentation:
    return Augmentation(settings, 16000, DATA)


def test_the_same_seed_gives_the_same_sound_at_the_same_length(clips: list[Floats]) -> None:
    augment = augmentation(*PHONE)
    given = clips[0].copy()
    first, again, other = (augment(np.random.default_rng(seed), clips[0]) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first.dtype, first.shape) == (np.float32, given.shape)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, given)
    np.testing.assert_array_equal(clips[0], given)


def test_generators_that_all_share_go_on_where_they_were(clips: list[Floats]) -> None:
    augment = augmentation({"type": "AddGaussianNoise", "p": 1.0})
    held = random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore[union-attr,call-overload]
    augment(np.random.default_rng(0), clips[0])
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == held  # type: ignore[union-attr,call-overload]


def test_two_threads_at_once_draw_as_one_alone_would(clips: list[Floats]) -> None:
    augment = augmentation(*PHONE)
    alone = [augment(np.random.default_rng(seed), clips[0]) for seed in range(12)]
    beside: dict[int, Floats] = {}

    def work(seeds: range) -> None:
        beside.update({seed: augment(np.random.default_rng(seed), clips[0]) for seed in seeds})

    threads = [threading.Thread(target=work, args=(range(start, 12, 2),)) for start in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(beside[seed], sound) for seed, sound in enumerate(alone))


@reads_files
def test_sounds_from_files_lie_in_the_data_folder(clips: list[Floats]) -> None:
    augment = augmentation({"type": "AddBackgroundNoise", "sounds_path": "noise", "p": 1.0})
    assert not np.array_equal(augment(np.random.default_rng(0), clips[0]), clips[0])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"type": "TanhDistorsion"}, r"no such transform; known: AddBackgroundNoise, AddColorNoise, .*TanhDistortion"),
        ({"type": "Compose"}, "audiomentations has no such transform"),
        (
            {"type": "TanhDistortion", "amount": 1.0},
            "unknown parameter 'amount'; known: min_distortion, max_distortion",
        ),
        ({"type": "TanhDistortion", "min_distortion": 3.0}, "refuses its parameters: a value is out of its range"),
        ({"type": "PitchShift", "max_semitones": 99.0}, "max_semitones must be <= 24; mend them"),
        ({"type": "Mp3Compression"}, r"needs fast_mp3_augment, which is not installed; pip install"),
        (
            {"type": "ApplyImpulseResponse", "ir_path": "clips/no", "leave_length_unchanged": False},
            "fails on a trial: it makes .*, and the length must stay; mend its parameters",
        ),
        ({"type": "AddBackgroundNoise", "sounds_path": "hall"}, "sounds_path: .*hall is not there; name files"),
        ({"type": "TimeStretch"}, "cannot be used, since it moves the word; use streams.speed"),
        ({"type": "Gain"}, "cannot be used, since the composer sets levels"),
    ],
)
@reads_files
def test_what_cannot_be_done_is_said_before_the_training(
    given: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fast_mp3_augment", None)  # one of the library's extras
    with pytest.raises(SettingsError, match=rf"^streams\.augmentations\[1\]: {given['type']}.*{said}") as refusal:
        augmentation(PHONE[0], given)
    assert "\n" not in str(refusal.value)


def test_a_transform_that_fails_on_some_sound_is_named() -> None:
    augment = augmentation({"type": "TanhDistortion", "p": 1.0})
    with pytest.raises(
        OtolithError,
        match=r"augmentations\[0\]: TanhDistortion: fails on 100 samples: it makes values that are not finite",
    ):
        augment(np.random.default_rng(0), np.full(100, np.nan, np.float32))


def test_a_recipe_without_augmentations_has_none() -> None:
    assert make_augmentation([], 16000, DATA) is None
