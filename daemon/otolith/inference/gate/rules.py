"""Rules: what each operator on the short list makes of the shapes before it.

Shapes that hang on values are followed where those come from constants and from other shapes; an operator whose result
cannot be bounded is refused. Semantics are those of onnx's Operators.md, opset 17 on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otolith.inference.gate.nodes import INT64, MAX_SHAPE_VALUES, Given, Known, Node, RefusedError, Values
from otolith.inference.gate.sizes import Extent, length, product

LONGEST = 1 << 26  # of an axis or a pad; a slice that ends behind it ends with its axis

Rule = Callable[[Node, Given], list[Known]]


def _need(given: Given, at: int) -> Known:
    tensor = given[at]
    if tensor is None:
        raise IndexError
    return tensor


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise IndexError
    return axis % rank


def _constants(given: Given, at: int) -> tuple[int, ...] | None:
    """An input's integers, where it is there and they are constants; None where they are not known."""
    tensor = given[at] if at < len(given) else None
    if tensor is None or tensor.values is None or not all(isinstance(value, int) for value in tensor.values):
        return None
    return tuple(value for value in tensor.values if isinstance(value, int))


def _axes(node: Node, given: Given, at: int) -> tuple[int, ...] | None:
    """The axes an operator is told, as an attribute or an input; None where none are. Refuses ones not known."""
    if "axes" in node.numbers:
        return node.numbers["axes"]
    if at >= len(given) or given[at] is None:
        return None
    axes = _constants(given, at)
    if axes is None:
        raise RefusedError(f"operator {node.operator} computes its axes; they must be constants")
    return axes


def _same(_node: Node, given: Given) -> list[Known]:
    return [Known(_need(given, 0).extents)]


def _identity(_node: Node, given: Given) -> list[Known]:
    return [_need(given, 0)]


def _cast(node: Node, given: Given) -> list[Known]:
    data = _need(given, 0)
    return [data if node.number("to", 0) == INT64 else Known(data.extents)]  # a narrower type may change values


def _broadcast(_node: Node, given: Given) -> list[Known]:
    shapes = [_need(given, at).extents for at in range(len(given))]
    return [Known(_spread(shapes))]


def _spread(shapes: Sequence[tuple[Extent, ...]]) -> tuple[Extent, ...]:
    """numpy's broadcasting: axes that differ are of length 1, or equal in fact."""
    rank = max(len(shape) for shape in shapes)
    spread = [length(1)] * rank
    for shape in shapes:
        for at, extent in enumerate(shape, rank - len(shape)):
            if spread[at].constant == 1:
                spread[at] = extent
            elif extent.constant != 1 and extent != spread[at]:
                spread[at] = spread[at].longer(extent)
    return tuple(spread)


def _matmul(_node: Node, given: Given) -> list[Known]:
    a, b = _need(given, 0).extents, _need(given, 1).extents
    if len(a) < 2 or len(b) < 2:
        raise IndexError
    return [Known((*_spread([a[:-2], b[:-2]]), a[-2], b[-1]))]


def _gemm(node: Node, given: Given) -> list[Known]:
    a, b = _need(given, 0).extents, _need(given, 1).extents
    return [Known((a[1 if node.number("transA", 0) else 0], b[0 if node.number("transB", 0) else 1]))]


def _conv(node: Node, given: Given) -> list[Known]:
    x, weights = _need(given, 0).extents, _need(given, 1).extents
    kernel = [extent.constant or 0 for extent in weights[2:]]
    count = len(kernel)
    pads = node.numbers.get("pads", (0,) * 2 * count)
    strides, dilations = node.numbers.get("strides", (1,) * count), node.numbers.get("dilations", (1,) * count)
    if node.words.get("auto_pad", "NOTSET") != "NOTSET":
        raise RefusedError("Conv pads by itself (auto_pad); write out its pads")
    if min((*strides, *dilations, *kernel)) < 1 or min((*pads, 0)) < 0 or max((*pads, *dilations, 0)) > LONGEST:
        raise RefusedError("Conv has a kernel, stride, dilation or pad that cannot be")
    places = []
    for at in range(count):
        padded = x[2 + at].plus(length(pads[at] + pads[count + at]))
        places.append(padded.less(dilations[at] * (kernel[at] - 1)).over(strides[at]))
    return [Known((x[0], weights[0], *places))]


def _recurrent(node: Node, given: Given) -> list[Known]:
    frames, streams, _ = _need(given, 0).extents
    hidden, layout = node.number("hidden_size", 0), node.number("layout", 0)
    if not 0 < hidden <= LONGEST or layout:
        raise RefusedError(
            f"{node.operator} has hidden_size {hidden} and layout {layout}; 1 or more, and 0, are allowed"
        )
    ways = length(2 if node.words.get("direction") == "bidirectional" else 1)
    last = Known((ways, streams, length(hidden)))
    return [Known((frames, ways, streams, length(hidden))), last, last]


def _concat(node: Node, given: Given) -> list[Known]:
    tensors = [_need(given, at) for at in range(len(given))]
    first = tensors[0].extents
    axis = _axis(node.number("axis", 0), len(first))
    joined = tensors[0].extents[axis]
    for tensor in tensors[1:]:
        joined = joined.plus(tensor.extents[axis])
    values: Values | None = None
    if len(first) == 1 and all(tensor.values is not None for tensor in tensors):
        values = _kept([value for tensor in tensors for value in tensor.values or ()])
    others = [_spread([(tensor.extents[at],) for tensor in tensors])[0] for at in range(len(first))]
    return [Known((*others[:axis], joined, *others[axis + 1 :]), values)]


def _kept(values: Sequence[int | Extent]) -> Values | None:
    return tuple(values) if len(values) <= MAX_SHAPE_VALUES else None


def _gather(node: Node, given: Given) -> list[Known]:
    data, indices = _need(given, 0), _need(given, 1)
    axis = _axis(node.number("axis", 0), len(data.extents))
    chosen, values = _constants(given, 1), None
    if data.values is not None and chosen is not None and len(data.extents) == 1:
        values = tuple(data.values[index] for index in chosen)
    return [Known((*data.extents[:axis], *indices.extents, *data.extents[axis + 1 :]), values)]


def _slice(_node: Node, given: Given) -> list[Known]:
    data = _need(given, 0)
    rank = len(data.extents)
    starts, ends = _constants(given, 1), _constants(given, 2)
    axes = _constants(given, 3) if len(given) > 3 and given[3] else tuple(range(len(starts or ())))
    steps = _constants(given, 4) if len(given) > 4 and given[4] else (1,) * len(starts or ())
    if starts is None or ends is None or axes is None or steps is None:
        return [Known(tuple(extent.loose for extent in data.extents))]
    extents, values = list(data.extents), data.values
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = _axis(axis, rank)
        extents[at] = _stretch(extents[at], start, end, step)
    if values is not None:
        values = values[starts[0] : ends[0] : steps[0]] if len(starts) == 1 else None
    return [Known(tuple(extents), values)]


def _stretch(extent: Extent, start: int, end: int, step: int) -> Extent:
    """What a slice leaves of an axis."""
    if (known := extent.constant) is not None:
        return length(len(range(known)[start:end:step]))
    if step != 1:
        return extent.loose
    if start >= 0 and end >= LONGEST:
        return extent.less(start)
    if start >= 0 and end < 0:
        return extent.less(start - end)
    if end >= LONGEST or (start < 0) == (end < 0):
        reach = max(0, (0 if end >= LONGEST else end) - start)
        return length(reach) if _has(extent, reach, start, end) else Extent(length(reach).terms, is_exact=False)
    return extent.loose


def _has(extent: Extent, reach: int, start: int, end: int) -> bool:
    """Is an axis always long enough for a stretch?"""
    shortest = sum(extent.terms.values()) if min(extent.terms.values(), default=0) >= 0 else 0
    return extent.is_exact and shortest >= max(reach, -start, end if 0 <= end < LONGEST else 0)


def _squeeze(node: Node, given: Given) -> list[Known]:
    data = _need(given, 0)
    axes = _axes(node, given, 1)
    if axes is None:
        raise RefusedError("Squeeze names no axes; name them")
    gone = {_axis(axis, len(data.extents)) for axis in axes}
    return [Known(tuple(extent for at, extent in enumerate(data.extents) if at not in gone), data.values)]


def _unsqueeze(node: Node, given: Given) -> list[Known]:
    data = _need(given, 0)
    axes = _axes(node, given, 1) or ()
    rank = len(data.extents) + len(axes)
    new, old = {_axis(axis, rank) for axis in axes}, iter(data.extents)
    return [Known(tuple(length(1) if at in new else next(old, length(1)) for at in range(rank)), data.values)]


def _transpose(node: Node, given: Given) -> list[Known]:
    data = _need(given, 0).extents
    order = node.numbers.get("perm", tuple(reversed(range(len(data)))))
    if sorted(order) != list(range(len(data))):
        raise IndexError
    return [Known(tuple(data[at] for at in order))]


def _reshape(node: Node, given: Given) -> list[Known]:
    data, wanted = _need(given, 0), _need(given, 1).values
    if wanted is None or node.number("allowzero", 0):
        raise RefusedError("Reshape takes a shape that cannot be known before it runs")
    left, shape, divisor, open_at = list(data.extents), [], 1, -1
    for at, value in enumerate(wanted):
        if value == 0:
            shape.append(data.extents[at])
        elif value == -1 and open_at < 0:
            open_at = at
            shape.append(length(1))
            continue
        else:
            shape.append(value if isinstance(value, Extent) else length(value))
            if isinstance(value, int) and value < 0:
                raise IndexError
        if shape[-1] in left:
            left.remove(shape[-1])
        elif (count := shape[-1].constant) is not None:
            divisor *= max(1, count)
        elif open_at >= 0 or -1 in wanted[at:]:
            raise RefusedError("Reshape takes -1 beside a length that it computes otherwise")
    if open_at >= 0:
        shape[open_at] = product(left).over(divisor)
    return [Known(tuple(shape), data.values if len(shape) <= 1 else None)]


def _flatten(node: Node, given: Given) -> list[Known]:
    data = _need(given, 0).extents
    axis = node.number("axis", 1)
    axis = axis if axis >= 0 else axis + len(data)
    return [Known((product(data[:axis]), product(data[axis:])))]


def _shape(node: Node, given: Given) -> list[Known]:
    extents = _need(given, 0).extents
    rank = len(extents)
    start, end = node.number("start", 0), node.number("end", rank)
    chosen = extents[start:end]
    values = tuple(extent if extent.constant is None else extent.constant for extent in chosen)
    return [Known((length(len(chosen)),), values if all(e.is_exact for e in chosen) else None)]


def _split(node: Node, given: Given) -> list[Known]:
    data = _need(given, 0).extents
    axis = _axis(node.number("axis", 0), len(data))
    parts = _constants(given, 1) if len(given) > 1 and given[1] else None
    even = data[axis].over(max(1, len(node.outputs))).loose
    lengths = [even] * len(node.outputs) if parts is None else [length(part) for part in parts]
    return [Known((*data[:axis], part, *data[axis + 1 :])) for part in lengths]


def _reduce(node: Node, given: Given) -> list[Known]:
    data = _need(given, 0).extents
    axes = _axes(node, given, 1)
    if not axes and node.number("noop_with_empty_axes", 0):
        return [Known(data)]
    gone = {_axis(axis, len(data)) for axis in axes} if axes else set(range(len(data)))
    keeps = bool(node.number("keepdims", 1))
    return [Known(tuple(length(1) if at in gone else e for at, e in enumerate(data) if keeps or at not in gone))]


def _constant(node: Node, _given: Given) -> list[Known]:
    if node.constant is None:
        raise RefusedError("Constant holds neither numbers nor a tensor")
    return [node.constant]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"), _broadcast),
    **dict.fromkeys(("Abs", "Clip", "CumSum", "Exp", "Log", "LogSoftmax", "Neg", "Relu", "Sigmoid"), _same),
    **dict.fromkeys(("Softmax", "Sqrt", "Tanh"), _same),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _recurrent),
    **dict.fromkeys(("ReduceMean", "ReduceSum"), _reduce),
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "Conv": _conv,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "Identity": _identity,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
