"""Shapes: followed through a graph, as bounds that hold for every step.

A graph passes where every tensor in it is linear in streams and in frames, and all together hold no more than
`MAX_VALUES` a stream and frame: so a step's memory is bounded by what is put in, whatever the weights say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from otolith.inference.gate.nodes import MAX_RANK, Given, Known, Node, RefusedError
from otolith.inference.gate.rules import RULES
from otolith.inference.gate.sizes import bound_of, length, product

MAX_VALUES = 1 << 20  # of all tensors together, a stream and frame: 4 MiB


def follow(nodes: Sequence[Node], known: dict[str, Known]) -> int:
    """Follow shapes from `known` ones through `nodes`; how many values they come to, a stream and frame.

    Raises `RefusedError` at the first node that is not bounded.
    """
    values = 0
    for node in nodes:
        given = [_look_up(node, name, known) for name in node.inputs]
        made = _apply(node, given)
        values += _scratch(node, given, made)
        for name, tensor in zip(node.outputs, made, strict=False):
            if not name:
                continue
            if name in known:
                raise RefusedError(f"makes {name[:80]!r} twice")
            values += values_of(tensor, f"{node.operator} makes {name[:80]!r}")
            known[name] = tensor
        if values > MAX_VALUES:
            raise RefusedError(
                f"asks for over {MAX_VALUES} values a stream and frame (at operator {node.operator}); "
                "train a smaller network"
            )
    return values


def values_of(tensor: Known, what: str) -> int:
    """How many values a tensor holds at most, a stream and frame. Raises `RefusedError` where no such bound holds."""
    if len(tensor.extents) > MAX_RANK:
        raise RefusedError(f"{what} with {len(tensor.extents)} axes; {MAX_RANK} at most are allowed")
    bound = bound_of(tensor.extents)
    if bound.by_streams > 1 or bound.by_frames > 1:
        raise RefusedError(f"{what}, which grows faster than streams and frames do")
    if bound.factor > MAX_VALUES:
        raise RefusedError(f"{what} of {bound.factor} values a stream and frame; {MAX_VALUES} at most are allowed")
    return bound.factor


def _apply(node: Node, given: Given) -> list[Known]:
    try:
        return RULES[node.operator](node, given)
    except RefusedError:
        raise
    except (IndexError, ValueError):
        raise RefusedError(f"operator {node.operator} lacks an input, or has one of a shape it cannot take") from None


def _look_up(node: Node, name: str, known: Mapping[str, Known]) -> Known | None:
    if not name:
        return None
    if name not in known:
        raise RefusedError(f"operator {node.operator} takes {name[:80]!r}, which nothing before it makes")
    return known[name]


def _scratch(node: Node, given: Given, made: Sequence[Known]) -> int:
    """Values that the runtime needs beside what comes out."""
    if node.operator in ("GRU", "LSTM", "RNN"):
        return 4 * values_of(made[0], node.operator)  # gates
    if node.operator == "Conv" and given[1] is not None:  # columns: each place of the kernel side by side
        columns = (*given[1].extents[1:], *made[0].extents[2:])
        return values_of(Known((length(1), product(columns))), "Conv's columns")
    return 0
