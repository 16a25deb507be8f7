"""Folds: everyone is held out once, nobody stands on both sides, and the draw is the same every time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otolith.errors import UsageError
from otolith_training.data.datasets import Clip
from otolith_training.data.folds import count_groups, make_folds
from otolith_training.data.splits import key_of


def clips(sizes: list[int]) -> list[Clip]:
    """As many clips of each speaker."""
    return [
        Clip(f"s{speaker}/{number}.wav", Path("x.wav"), "yes", f"s{speaker}", "train")
        for speaker, size in enumerate(sizes)
        for number in range(size)
    ]


def groupless(count: int) -> list[Clip]:
    return [Clip(f"{number}.wav", Path("x.wav"), "yes", None, None) for number in range(count)]


@given(st.lists(st.integers(1, 20), min_size=5, max_size=40), st.integers(2, 5))
def test_everyone_is_held_out_once_and_never_learned_from_or_chosen_by_there(sizes: list[int], count: int) -> None:
    items = clips(sizes)
    held_out: Counter[str] = Counter()
    for fold in make_folds(items, count):
        split = {name: {key_of(c) for c in fold.assign(items) if c.split == name} for name in ("train", "dev", "test")}
        assert split["test"] == set(fold.test)
        assert not split["test"] & (split["train"] | split["dev"])
        assert split["dev"]
        held_out.update(fold.test)
    assert held_out == Counter({f"s{speaker}": 1 for speaker in range(len(sizes))})


def test_folds_are_about_as_large_and_drawn_alike_whatever_the_order_of_the_items() -> None:
    sizes = np.random.default_rng(0).integers(5, 40, 60).tolist()
    folds = make_folds(clips(sizes), 5)
    loads = [sum(sizes[int(group[1:])] for group in fold.test) for fold in folds]
    assert max(loads) - min(loads) <= 5
    assert make_folds(clips(sizes)[::-1], 5) == folds


def test_of_many_groups_some_choose_whole_and_of_few_each_gives_some_of_its_recordings() -> None:
    many = clips([10] * 20)
    fold = make_folds(many, 5)[0]
    dev = {c.group for c in fold.assign(many) if c.split == "dev"}
    assert len(dev) == 2  # 15 % of 16 groups
    assert not dev & {c.group for c in fold.assign(many) if c.split == "train"}
    few = clips([40] * 5)
    fold = make_folds(few, 5)[0]
    assigned = fold.assign(few)
    assert {c.group for c in assigned if c.split == "train"} == {c.group for c in assigned if c.split == "dev"}
    assert sum(c.split == "dev" for c in assigned) == 24


def test_recordings_of_no_one_are_dealt_by_themselves() -> None:
    folds = make_folds(groupless(100), 5)
    assert [len(fold.test) for fold in folds] == [20] * 5
    with pytest.raises(UsageError, match="no speaker or subject is known of 100 of 100"):
        count_groups(groupless(100))


def test_more_folds_than_groups_are_refused() -> None:
    with pytest.raises(UsageError, match="6 folds of 5 groups or recordings; ask for 2 to 5"):
        make_folds(clips([3] * 5), 6)
