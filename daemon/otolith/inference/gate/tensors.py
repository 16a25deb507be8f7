"""Tensors that a model file brings along: as large as the bytes they stand in, of plain types, finite."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.inference.gate.nodes import INT64, MAX_RANK, MAX_SHAPE_VALUES, Known, RefusedError
from otolith.inference.gate.protobuf import Field, Walk, count_integers, integers
from otolith.inference.gate.sizes import length

MAX_BYTES = 64 << 20

# By TensorProto.DataType: float, uint8, int8, int32, int64, bool, double.
TYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", INT64: "<i8", 9: "?", 11: "<f8"}
RAW = 9
FLOATS = {4: "<f4", 10: "<f8"}  # fields of floats
INTEGERS = (5, 7)  # fields of integers


def read_tensor(walk: Walk, tensor: memoryview) -> tuple[str, Known]:
    """A TensorProto's name, and what is known of it. Raises `RefusedError`, or `ValueError` where it is malformed."""
    name, type_number = "", 0
    dims: list[int] = []
    content: list[Field] = []
    for field in walk.fields(tensor):
        match field.number:
            case 1:
                dims += integers(field, MAX_RANK - len(dims))
            case 2:
                type_number = field.integer
            case 4 | 5 | 7 | 9 | 10:
                content.append(field)
            case 8:
                name = field.text
            case 3 | 6 | 11:
                raise RefusedError("an initializer comes in pieces, or is of a type that is not allowed")
            case 13 | 14 if field.value:
                raise RefusedError("keeps weights outside the file (external data); export one self-contained file")
    if type_number not in TYPES:
        raise RefusedError("an initializer is of a type that is not allowed; export float32 and int64 ones")
    if any(not 0 <= dim <= MAX_BYTES for dim in dims):
        raise RefusedError(f"an initializer has the shape {dims}")
    count, found = math.prod(dims), _check_content(content, np.dtype(TYPES[type_number]))
    if count != found:
        raise RefusedError(f"an initializer claims {count} elements and brings {found}")
    extents = tuple(length(dim) for dim in dims)
    follows = type_number == INT64 and len(dims) <= 1 and count <= MAX_SHAPE_VALUES
    return name, Known(extents, _integers(content) if follows else None)


def _check_content(content: list[Field], dtype: np.dtype[Any]) -> int:
    """How many elements there are. Raises `RefusedError` where one is no finite number."""
    if len({field.number for field in content}) > 1:
        raise RefusedError("an initializer brings its elements twice")
    count = 0
    for field in content:
        if field.number in INTEGERS:
            count += count_integers(field)
            continue
        values = _array(field.bytes, np.dtype(FLOATS[field.number]) if field.number in FLOATS else dtype)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise RefusedError("an initializer holds a weight that is no finite number; train the model again")
        count += len(values)
    return count


def _integers(content: list[Field]) -> tuple[int, ...]:
    found: list[int] = []
    for field in content:
        if field.number == RAW:
            found += _array(field.bytes, np.dtype("<i8")).tolist()
        else:
            found += integers(field, MAX_SHAPE_VALUES)
    return tuple(found)


def _array(data: memoryview, dtype: np.dtype[Any]) -> NDArray[Any]:
    if len(data) % dtype.itemsize:
        raise RefusedError("an initializer breaks off within an element")
    return np.frombuffer(data, dtype)
