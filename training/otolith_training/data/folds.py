"""Folds: every speaker or subject is held out once, and someone of the others chooses the epoch.

What stays together is a group where one is known, else a recording alone. The same set gives the same folds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from otolith.errors import ModelError, UsageError
from otolith.inference.card import Card
from otolith_training.data.datasets import AnyItem, Split
from otolith_training.data.material import Items
from otolith_training.data.splits import DEV_SHARE, hashed_share, key_of

FEWEST_GROUPS = 8  # to learn from: of fewer, a whole one is too much to give away for choosing the epoch


@dataclass(frozen=True, slots=True)
class Fold:
    """Who is held out and who chooses: names of groups, or of recordings; all others are learned from."""

    number: int  # from 1
    of: int
    dev: tuple[str, ...]
    test: tuple[str, ...]

    def assign(self, items: Items) -> Items:
        """The items with this fold's splits, whatever theirs were."""
        dev, test = set(self.dev), set(self.test)

        def split(item: AnyItem) -> Split:
            if key_of(item) in test:
                return "test"
            return "dev" if {key_of(item), item.name} & dev else "train"

        assigned: Any = [replace(item, split=split(item)) for item in items]  # all clips or all runs, as they came
        return assigned  # type: ignore[no-any-return]


def make_folds(items: Sequence[AnyItem], count: int) -> list[Fold]:
    """`count` folds of about as many items each. Raises `UsageError` where there are too few groups for them."""
    sizes = Counter(key_of(item) for item in items)
    if not 2 <= count <= len(sizes):
        raise UsageError(f"{count} folds of {len(sizes)} groups or recordings; ask for 2 to {len(sizes)}")
    held_out: list[list[str]] = [[] for _ in range(count)]
    loads = [0] * count
    for key in sorted(sizes, key=lambda name: (-sizes[name], hashed_share(name), name)):  # the largest first
        lightest = loads.index(min(loads))
        held_out[lightest].append(key)
        loads[lightest] += sizes[key]
    return [
        Fold(number, count, choose_dev([item for item in items if key_of(item) not in set(keys)]), tuple(sorted(keys)))
        for number, keys in enumerate(held_out, start=1)
    ]


def fold_of(card: Card) -> Fold | None:
    """The fold that a model is of, by its card; None where it is of none. Raises `ModelError`."""
    if "fold" not in card.metrics:
        return None
    try:
        return msgspec.convert(card.metrics["fold"], Fold)
    except msgspec.ValidationError as error:
        raise ModelError(f"{card.name}: the card's fold does not hold ({error}); train it anew") from None


def count_groups(items: Sequence[AnyItem]) -> int:
    """How many speakers or subjects there are. Raises `UsageError` where an item's is not known."""
    if unknown := sum(item.group is None for item in items):
        raise UsageError(
            f"--leave-one-out: no speaker or subject is known of {unknown} of {len(items)} recordings; "
            "name them in the manifest, or ask for --folds"
        )
    return len({item.group for item in items})


def choose_dev(items: Sequence[AnyItem]) -> tuple[str, ...]:
    """What chooses the epoch, out of the items that are not held out: whole groups, about as much as a hash would draw.

    Of few groups each gives some of its recordings instead.
    """
    sizes = Counter(key_of(item) for item in items)
    if len(sizes) < FEWEST_GROUPS:
        sizes = Counter(item.name for item in items)
    left = DEV_SHARE * len(items)
    order = sorted(sizes, key=lambda name: (hashed_share(f"dev {name}"), name))
    chosen: list[str] = []
    for key in order:
        if sizes[key] <= left:
            chosen.append(key)
            left -= sizes[key]
    return tuple(sorted(chosen or [min(order, key=lambda name: sizes[name])]))
