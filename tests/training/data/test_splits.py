"""Splits: groups stay whole, files never move, and what a manifest says holds."""

from __future__ import annotations

from pathlib import Path

from otolith_training.data.datasets import Clip, Split
from otolith_training.data.splits import assign_splits, hashed_split


def clip(name: str, group: str | None = None, split: Split | None = None) -> Clip:
    return Clip(name, Path(name), "yes", group, split)


def test_speakers_never_stand_in_two_splits_and_new_files_move_no_old_ones() -> None:
    clips = [clip(f"{i}.wav", f"speaker {i % 40}") for i in range(400)]
    split = {c.name: c.split for c in assign_splits(clips)}
    by_speaker: dict[str | None, set[str | None]] = {}
    for c in assign_splits(clips):
        by_speaker.setdefault(c.group, set()).add(c.split)
    assert all(len(splits) == 1 for splits in by_speaker.values())
    more = [*clips, *(clip(f"new {i}.wav", f"newcomer {i}") for i in range(50))]
    assert {c.name: c.split for c in assign_splits(more) if c.name in split} == split


def test_a_hash_draws_about_fifteen_percent_each_for_dev_and_test() -> None:
    drawn = [hashed_split(f"file {i}.wav") for i in range(4000)]
    assert 0.13 < drawn.count("test") / 4000 < 0.17
    assert 0.13 < drawn.count("dev") / 4000 < 0.17


def test_named_groups_are_held_out_and_no_others_beside_them() -> None:
    clips = [clip(f"{i}.wav", f"s{i % 10}") for i in range(100)]
    assigned = assign_splits(clips, dev=["s1"], test=["s2", "s3"])
    assert {c.group for c in assigned if c.split == "dev"} == {"s1"}
    assert {c.group for c in assigned if c.split == "test"} == {"s2", "s3"}


def test_a_manifest_without_dev_gives_whole_groups_of_its_train_items_where_it_keeps_them_apart() -> None:
    clips = [clip(f"{i}.wav", f"s{i % 40}", "test" if i % 40 < 10 else "train") for i in range(400)]
    assigned = assign_splits(clips)
    groups = {split: {c.group for c in assigned if c.split == split} for split in ("train", "dev", "test")}
    assert groups["test"] == {f"s{i}" for i in range(10)}
    assert groups["dev"]
    assert not groups["dev"] & groups["train"]


def test_a_manifest_without_dev_that_shares_its_groups_gives_files() -> None:
    clips = [clip(f"{i}.wav", f"s{i % 5}", "test" if i < 100 else "train") for i in range(1100)]
    assigned = assign_splits(clips)
    dev = [c for c in assigned if c.split == "dev"]
    assert 0.1 < len(dev) / 1000 < 0.2
    assert {c.group for c in dev} == {f"s{i}" for i in range(5)}
    assert [c.name for c in assigned if c.split == "test"] == [f"{i}.wav" for i in range(100)]


def test_a_manifest_that_was_drawn_by_the_hash_loses_none_of_its_train_items() -> None:
    drawn = [c for c in assign_splits([clip(f"{i}.wav") for i in range(200)]) if c.split != "dev"]
    assert assign_splits(drawn) == drawn
