"""Splits: which recordings are learned from, which choose the epoch, and which are held out until the end.

A group (a speaker, a subject) is never in two of them, unless a set's own manifest has it so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from otolith_training.data.datasets import AnyItem, Item, Split

TEST_SHARE = 0.15
DEV_SHARE = 0.15


def hashed_split(key: str, dev: float = DEV_SHARE, test: float = TEST_SHARE) -> Split:
    """A split drawn by a hash, so that adding files never moves old ones."""
    share = hashed_share(key)
    return "test" if share < test else "dev" if share < test + dev else "train"


def hashed_share(key: str) -> float:
    """A number in 0..1 that depends on nothing but `key`."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


def assign_splits(items: Iterable[Item], dev: Collection[str] = (), test: Collection[str] = ()) -> list[Item]:
    """Every item with a split: groups named in `dev` and `test`, else the manifest's, else a hash.

    The hash is of the group (speaker, subject) where one is known, else of the file's name. Where groups are named
    for a split, no others are drawn into it. Where a manifest tells train from test and names no dev, dev is drawn by
    hash out of its train items: by group if it keeps groups apart, by file if it shares them.
    """
    items = list(items)
    drawn = _dev_keys(items) if not dev else set()
    assigned = []
    for item in items:
        split: Split
        if item.group is not None and item.group in test:
            split = "test"
        elif item.group is not None and item.group in dev:
            split = "dev"
        elif item.split is not None:
            split = "dev" if item.split == "train" and drawn & {item.group, item.name} else item.split
        else:
            split = hashed_split(key_of(item))
            if (split == "test" and test) or (split == "dev" and dev):
                split = "train"
        assigned.append(replace(item, split=split))
    return assigned


def key_of(item: AnyItem) -> str:
    """What stays together: the item's group where one is known, else the item alone, by its name."""
    return item.group if item.group is not None else item.name


def _dev_keys(items: Sequence[AnyItem]) -> set[str | None]:
    """Groups or names to choose by, out of the train items of a manifest that names only train and test.

    A hash that drew the manifest's own splits would say train of each of them, so nothing of such a set moves.
    """
    if {item.split for item in items} != {"train", "test"}:
        return set()
    groups = [{item.group for item in items if item.split == split} - {None} for split in ("train", "test")]
    shared = bool(groups[0] & groups[1])
    keys = {item.name if shared else key_of(item) for item in items if item.split == "train"}
    return {key for key in keys if hashed_split(key) == "dev"}
