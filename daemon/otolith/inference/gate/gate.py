"""The gate: what a stranger's model file must pass before the runtime sees a byte of it.

onnxruntime is written for friends: it follows hard links out of a folder, turns a `Loop` 2**60 times and allocates
what 134 bytes ask for. So the file is read once, as bytes, and its protobuf is walked here (field numbers from
onnx.proto3): only operators on a short list in the default domain, no subgraphs, functions, external or sparse data,
finite initializers as large as the bytes they bring, and no shape that is not bounded.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from pathlib import Path

from otolith.errors import ModelError
from otolith.inference.card import METADATA_KEY
from otolith.inference.card_text import MAX_CARD_BYTES
from otolith.inference.gate.nodes import Known, Node, RefusedError
from otolith.inference.gate.protobuf import Field, Walk, integers
from otolith.inference.gate.rules import RULES
from otolith.inference.gate.shapes import follow, values_of
from otolith.inference.gate.sizes import FRAMES, STREAMS, Extent, length
from otolith.inference.gate.tensors import MAX_BYTES, read_tensor

MAX_NODES = 2_000
MAX_FIELDS = 100_000  # of a file's protobuf; a large model of ours has some 3,000
MAX_NUMBERS = 64  # of an attribute: axes, pads, a permutation
MIN_OPSET = 17
OPERATORS = frozenset(RULES)
DEFAULT_DOMAIN = (b"", b"ai.onnx")
CONSTANTS = ("value_float", "value_floats", "value_int", "value_ints")


def read_model_file(path: Path) -> bytes:
    """The whole content of a regular file of bounded size. Raises `ModelError`.

    A symbolic link is followed within its own folder and below it: a stranger's leads nowhere else.
    """
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(path.parent.resolve()):
            raise ModelError(f"{path}: is a link out of its folder, to {real}; name the file itself, or copy it")
        if not stat.S_ISREG(real.stat().st_mode):  # before it is opened: to open a device may do something
            raise ModelError(f"{path}: is not a regular file; name a model file (.onnx)")
        fd = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{path}: cannot be opened ({reason}); name a model file (.onnx)") from None
    try:
        info = os.fstat(fd)  # of the descriptor, so that what was checked is what is read
        if not stat.S_ISREG(info.st_mode):
            raise ModelError(f"{path}: is not a regular file; name a model file (.onnx)")
        if info.st_size > MAX_BYTES:
            raise ModelError(f"{path}: {info.st_size} bytes, {MAX_BYTES} at most are read; train a smaller network")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(MAX_BYTES)
    finally:
        os.close(fd)


def inspect(content: bytes, where: str) -> str:
    """Walk a model file; returns the text of its card. Raises `ModelError` saying what was found and where."""
    try:
        return _inspect_model(Walk(MAX_FIELDS), memoryview(content))
    except RefusedError as refusal:
        raise ModelError(f"{where}: {refusal}") from None
    except (ValueError, IndexError, struct.error):
        raise ModelError(f"{where}: is truncated or not an ONNX file; export or copy it again") from None


def _inspect_model(walk: Walk, model: memoryview) -> str:
    card: str | None = None
    graphs: list[memoryview] = []
    opset = 0
    for field in walk.fields(model):
        match field.number:
            case 7:
                graphs.append(field.bytes)
            case 8:
                opset = max(opset, _opset(walk, field.bytes))
            case 14:
                card = _card(walk, field.bytes) or card
            case 20 | 25:
                raise RefusedError("holds local functions or training graphs, which are not allowed; export plainly")
    if len(graphs) != 1:
        raise ValueError("no graph, or several")
    if opset < MIN_OPSET:
        raise RefusedError(f"opset is {opset}; {MIN_OPSET} or newer is needed: export the model again")
    _inspect_graph(walk, graphs[0])
    if card is None:
        raise RefusedError(
            f"is ONNX but has no {METADATA_KEY} in its metadata; only models that otolith exported can be stepped"
        )
    return card


def _opset(walk: Walk, entry: memoryview) -> int:
    found = {f.number: f.value for f in walk.fields(entry)}
    domain, version = found.get(1, b""), found.get(2, 0)
    if isinstance(domain, int) or not isinstance(version, int):
        raise ValueError("malformed opset")  # noqa: TRY004
    if bytes(domain) not in DEFAULT_DOMAIN:
        raise RefusedError(f"asks for operator domain {bytes(domain)!r}; only the default domain is allowed")
    return version


def _card(walk: Walk, entry: memoryview) -> str | None:
    """The card, where a metadata entry is that."""
    found = {f.number: f.bytes for f in walk.fields(entry)}
    if bytes(found.get(1, b"")[:64]) != METADATA_KEY.encode():
        return None
    text = found.get(2, memoryview(b""))
    if len(text) > MAX_CARD_BYTES:
        raise RefusedError(f"has a card of {len(text)} bytes; {MAX_CARD_BYTES} at most are read")
    return bytes(text).decode("utf-8")


def _inspect_graph(walk: Walk, graph: memoryview) -> None:
    """Refuse what must not stand in a graph; then follow its shapes from inputs and initializers on."""
    nodes: list[Node] = []
    inputs: list[memoryview] = []
    known: dict[str, Known] = {}
    for field in walk.fields(graph):
        match field.number:
            case 1:
                nodes.append(_read_node(walk, field.bytes))
                if len(nodes) > MAX_NODES:
                    raise RefusedError(f"has over {MAX_NODES} nodes, which is not allowed")
            case 5:
                name, tensor = read_tensor(walk, field.bytes)
                known[name] = tensor
            case 11:
                inputs.append(field.bytes)
            case 15:
                raise RefusedError("holds sparse initializers, which are not allowed; export dense ones")
    for entry in inputs:
        name, tensor = _read_input(walk, entry)
        known.setdefault(name, tensor)
    follow(nodes, known)


def _read_input(walk: Walk, entry: memoryview) -> tuple[str, Known]:
    """An input's name and shape: `frames` by streams and frames, a state by streams."""
    name, dims = "", []
    for field in walk.fields(entry):
        if field.number == 1:
            name = field.text
        elif field.number == 2:
            dims = _declared(walk, field.bytes)
    leading = (STREAMS, FRAMES) if name == "frames" else (STREAMS,)
    rest = dims[len(leading) :]
    if len(dims) < len(leading) or not all(rest):
        raise RefusedError(f"input {name[:80]!r} has a shape that is not fixed behind streams and frames")
    tensor = Known((*leading, *(length(dim) for dim in rest)))
    values_of(tensor, f"input {name[:80]!r}")
    return name, tensor


def _declared(walk: Walk, declared: memoryview) -> list[int]:
    """A TypeProto's dimensions, 0 for those that have a name. Refuses all types but tensors."""
    dims: list[int] = []
    for tensor in walk.fields(declared):
        if tensor.number != 1:
            raise RefusedError("has an input that is no tensor")
        for shape in (f.bytes for f in walk.fields(tensor.bytes) if f.number == 2):
            named = (f.bytes for f in walk.fields(shape) if f.number == 1)
            dims += [max([f.integer for f in walk.fields(dim) if f.number == 1], default=0) for dim in named]
    return dims


def _read_node(walk: Walk, node: memoryview) -> Node:
    found = list(walk.fields(node))
    operator = "".join(f.text for f in found if f.number == 4)
    domain = b"".join(bytes(f.bytes) for f in found if f.number == 7)
    if domain not in DEFAULT_DOMAIN:
        raise RefusedError(f"operator {operator[:80]} is of domain {domain[:80]!r}; only the default domain is allowed")
    attributes = [_read_attribute(walk, f.bytes, operator[:80]) for f in found if f.number == 5]
    if operator not in OPERATORS:
        raise RefusedError(f"operator {operator[:80]!r} is not on the list of allowed ones (docs/model-format.md)")
    if len({name for name, *_ in attributes}) != len(attributes):
        raise RefusedError(f"operator {operator} has an attribute twice")
    inputs, outputs = (tuple(f.text for f in found if f.number == number) for number in (1, 2))
    numbers = {name: numbers for name, numbers, _, _ in attributes if numbers}
    words = {name: word for name, _, word, _ in attributes if word}
    tensors = [tensor for *_, tensor in attributes if tensor is not None]
    return Node(operator, inputs, outputs, numbers, words, tensors[0] if tensors else None)


def _read_attribute(walk: Walk, attribute: memoryview, operator: str) -> tuple[str, tuple[int, ...], str, Known | None]:
    """An attribute's name, and its integers, word or tensor, where it has one."""
    name, word, numbers, floats = "", "", list[int](), 0
    tensor: Known | None = None
    for part in walk.fields(attribute):
        match part.number:
            case 1:
                name = part.text
            case 2 | 7:
                floats += _count_floats(part, operator)
            case 3 | 8:
                numbers += integers(part, MAX_NUMBERS - len(numbers))
            case 4:
                word = part.text
            case 5 if tensor is None:
                _, tensor = read_tensor(walk, part.bytes)
            case 6 | 11:
                raise RefusedError(f"operator {operator} holds a subgraph, which is not allowed")
            case 22 | 23:
                raise RefusedError(f"operator {operator} holds a sparse tensor, which is not allowed")
            case 5 | 10 | 14 | 15 | 21:
                raise RefusedError(f"operator {operator} holds an attribute of a kind that is not allowed")
    if name in CONSTANTS:
        tensor = _as_constant(name, tuple(numbers), floats)
    return name, tuple(numbers), word, tensor


def _as_constant(name: str, numbers: tuple[int, ...], floats: int) -> Known:
    extents: tuple[Extent, ...] = (length(len(numbers) + floats),) if name.endswith("s") else ()
    return Known(extents, numbers or None)


def _count_floats(part: Field, operator: str) -> int:
    values = [value for (value,) in struct.iter_unpack("<f", part.bytes)]
    if not all(map(math.isfinite, values)):
        raise RefusedError(f"operator {operator} holds a number that is not finite")
    return len(values)
