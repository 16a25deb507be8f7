"""The gate: what a stranger's model file must pass before the runtime sees a byte of it.

onnxruntime is written for friends: it follows hard links out of a folder, turns a `Loop` 2**60 times and allocates
what 134 bytes ask for. So the file is read once, as bytes, and its protobuf is walked here (field numbers from
onnx.proto3): only operators on a short list in the default domain, no subgraphs, functions, external or sparse data,
and every initializer as large as the bytes it brings.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from otolith.errors import ModelError
from otolith.inference.card import METADATA_KEY

MAX_BYTES = 64 << 20
MAX_NODES = 2_000
MIN_OPSET = 17
OPERATORS = frozenset(
    """
    Abs Add Cast Clip Concat Constant Conv CumSum Div Exp Flatten GRU Gather Gemm Identity LSTM Log LogSoftmax MatMul
    Max Min Mul Neg Pow RNN ReduceMean ReduceSum Relu Reshape Shape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Tanh
    Transpose Unsqueeze
    """.split()  # noqa: SIM905 - forty quoted names would fill a screen
)
DEFAULT_DOMAIN = (b"", b"ai.onnx")

# Bytes of one element, by TensorProto.DataType: float, uint8, int8, int32, int64, bool, double.
ELEMENT_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 11: 8}


class Field(NamedTuple):
    """One protobuf field: its number, and a varint's value or a length-delimited field's bytes."""

    number: int
    value: int | memoryview

    @property
    def bytes(self) -> memoryview:
        """The field's content. Raises `ValueError` where a plain number stands in its place."""
        if isinstance(self.value, int):
            raise ValueError(f"field {self.number} should hold bytes")  # noqa: TRY004 - one error for all malformed files
        return self.value


def read_model_file(path: Path) -> bytes:
    """The whole content of a regular file of bounded size. Raises `ModelError`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ModelError(f"{path}: cannot be opened ({error.strerror}); name a model file (.onnx)") from None
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
        return _inspect_model(memoryview(content))
    except _RefusedError as refusal:
        raise ModelError(f"{where}: {refusal}") from None
    except (ValueError, IndexError):
        raise ModelError(f"{where}: is truncated or not an ONNX file; export or copy it again") from None


class _RefusedError(Exception):
    pass


def _inspect_model(model: memoryview) -> str:
    card: str | None = None
    graphs = 0
    opset = 0
    for field in _fields(model):
        match field.number:
            case 7:
                graphs += 1
                _inspect_graph(field.bytes)
            case 8:
                opset = max(opset, _opset(field.bytes))
            case 14:
                entry = {f.number: bytes(f.bytes) for f in _fields(field.bytes)}
                if entry.get(1) == METADATA_KEY.encode():
                    card = entry.get(2, b"").decode("utf-8")
            case 20 | 25:
                raise _RefusedError("holds local functions or training graphs, which are not allowed; export plainly")
    if graphs != 1:
        raise ValueError("no graph")
    if opset < MIN_OPSET:
        raise _RefusedError(f"opset is {opset}; {MIN_OPSET} or newer is needed: export the model again")
    if card is None:
        raise _RefusedError(
            f"is ONNX but has no {METADATA_KEY} in its metadata; only models that otolith exported can be stepped"
        )
    return card


def _opset(entry: memoryview) -> int:
    fields = {f.number: f.value for f in _fields(entry)}
    domain, version = fields.get(1, b""), fields.get(2, 0)
    if isinstance(domain, int) or not isinstance(version, int):
        raise ValueError("malformed opset")  # noqa: TRY004
    if bytes(domain) not in DEFAULT_DOMAIN:
        raise _RefusedError(f"asks for operator domain {bytes(domain)!r}; only the default domain is allowed")
    return version


def _inspect_graph(graph: memoryview) -> None:
    nodes = 0
    for field in _fields(graph):
        match field.number:
            case 1:
                nodes += 1
                _inspect_node(field.bytes)
            case 5:
                _inspect_tensor(field.bytes)
            case 15:
                raise _RefusedError("holds sparse initializers, which are not allowed; export dense ones")
    if nodes > MAX_NODES:
        raise _RefusedError(f"has {nodes} nodes; {MAX_NODES} at most are allowed")


def _inspect_node(node: memoryview) -> None:
    fields = list(_fields(node))
    operator = b"".join(bytes(f.bytes) for f in fields if f.number == 4).decode("utf-8", "replace")
    domain = b"".join(bytes(f.bytes) for f in fields if f.number == 7)
    if domain not in DEFAULT_DOMAIN:
        raise _RefusedError(f"operator {operator} is of domain {domain!r}; only the default domain is allowed")
    if operator not in OPERATORS:
        raise _RefusedError(f"operator {operator!r} is not on the list of allowed ones (docs/model-format.md)")
    for attribute in (f.bytes for f in fields if f.number == 5):
        for part in _fields(attribute):
            if part.number in (6, 11):
                raise _RefusedError(f"operator {operator} holds a subgraph, which is not allowed")
            if part.number in (22, 23):
                raise _RefusedError(f"operator {operator} holds a sparse tensor, which is not allowed")
            if part.number in (5, 10):
                _inspect_tensor(part.bytes)


def _inspect_tensor(tensor: memoryview) -> None:
    elements, element_bytes, found = 1, 0, 0
    for field in _fields(tensor):
        match field.number:
            case 1:
                for dim in _varints(field):
                    if dim > MAX_BYTES:
                        raise _RefusedError(f"an initializer has a dimension of {dim}")
                    elements *= dim
            case 2:
                element_bytes = ELEMENT_BYTES.get(field.value if isinstance(field.value, int) else 0, 0)
            case 4 | 5 | 7 | 10:
                packed = field.value
                found += 8 if isinstance(packed, int) else len(packed)
            case 9:
                found += len(field.bytes)
            case 13 | 14 if field.value:
                raise _RefusedError("keeps weights outside the file (external data); export one self-contained file")
    if element_bytes == 0:
        raise _RefusedError("an initializer is of a type that is not allowed; export float32 and int64 ones")
    if elements * element_bytes > MAX_BYTES or (elements and not found):
        raise _RefusedError(f"an initializer claims {elements} elements and brings {found} bytes")


def _varints(field: Field) -> Iterator[int]:
    """A repeated integer field, packed or not."""
    if isinstance(field.value, int):
        yield field.value
        return
    at = 0
    while at < len(field.value):
        value, at = _varint(field.value, at)
        yield value


def _fields(message: memoryview) -> Iterator[Field]:
    """The fields of a protobuf message, in file order. Raises `ValueError` or `IndexError` where it breaks off."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        value: int | memoryview
        if wire_type == 0:
            value, at = _varint(message, at)
        elif wire_type == 2:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
            value, at = message[at : at + length], at + length
        else:
            raise ValueError(f"wire type {wire_type}")
        if at > len(message):
            raise ValueError("the message breaks off")
        yield Field(number, value)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint is too long")
