"""Nodes: an operator at work, and what is known of the tensors that it takes and makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from otolith.inference.gate.sizes import Extent

MAX_RANK = 8
MAX_SHAPE_VALUES = 64  # integers of a tensor that are followed: axes and shapes are far shorter
INT64 = 7  # TensorProto.DataType

Values = tuple[int | Extent, ...]


class RefusedError(ValueError):
    """What was found, as a clause."""


class Known(NamedTuple):
    """What is known of a tensor: its shape, and its integers where they may be a shape."""

    extents: tuple[Extent, ...]
    values: Values | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """An operator at work. `numbers` are its attributes that are integers or lists of them."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: Mapping[str, tuple[int, ...]]
    words: Mapping[str, str] = field(default_factory=dict)
    constant: Known | None = None

    def number(self, name: str, default: int) -> int:
        """An attribute that is one integer."""
        return self.numbers[name][0] if self.numbers.get(name) else default


Given = Sequence[Known | None]  # a node's inputs; None for one that is left out
