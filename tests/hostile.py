"""Files that mean harm, each small and quickly made."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import soundfile
from onnx import TensorProto, helper

from tests.tiny import HOP_LENGTH, tiny_card, tiny_graph, with_card, write_card

MEGABYTE = 1 << 20


def _model(path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = tiny_graph(HOP_LENGTH, 3)
    card = write_card(tiny_card(model, "audio"))
    change(model)
    path.write_bytes(with_card(model, card))
    return path


def loop(path: Path) -> Path:
    """A loop that turns 2**60 times."""

    def change(model: onnx.ModelProto) -> None:
        turns = helper.make_tensor("turns", TensorProto.INT64, [], [1 << 60])
        goes_on = helper.make_tensor_value_info("goes_on", TensorProto.BOOL, [])
        count = helper.make_tensor_value_info("count", TensorProto.INT64, [])
        body = helper.make_graph([], "body", [count, goes_on], [goes_on])
        model.graph.initializer.append(turns)
        model.graph.node.append(helper.make_node("Loop", ["turns", ""], [], body=body))

    return _model(path, change)


def constant_of_shape(path: Path) -> Path:
    """16 GiB asked for in some bytes."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(helper.make_tensor("huge", TensorProto.INT64, [1], [1 << 32]))
        model.graph.node.append(helper.make_node("ConstantOfShape", ["huge"], ["much"]))

    return _model(path, change)


def functions(path: Path) -> Path:
    """Three thousand local functions, each calling the next."""

    def change(model: onnx.ModelProto) -> None:
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        for number in range(3000):
            call = helper.make_node(f"f{number + 1}", ["a"], ["b"], domain="local")
            model.functions.append(helper.make_function("local", f"f{number}", ["a"], ["b"], [call], opsets))

    return _model(path, change)


def hard_link(path: Path) -> Path:
    """Weights of another file, through a hard link beside the model."""
    (outside := path.parent / "outside.bin").write_bytes(bytes(64))
    os.link(outside, path.parent / "weights.bin")

    def change(model: onnx.ModelProto) -> None:
        tensor = TensorProto(name="stolen", dims=[16], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="weights.bin")
        model.graph.initializer.append(tensor)

    return _model(path, change)


def outer_product(path: Path) -> Path:
    """Plain operators that make of n samples n * n."""

    def change(model: onnx.ModelProto) -> None:
        for name, shape in (("column", [-1, 1]), ("row", [1, -1])):
            model.graph.initializer.append(helper.make_tensor(f"as_{name}", TensorProto.INT64, [2], shape))
            model.graph.node.append(helper.make_node("Reshape", ["frames", f"as_{name}"], [name]))
        model.graph.node.append(helper.make_node("Mul", ["column", "row"], ["all"]))

    return _model(path, change)


def not_finite(path: Path) -> Path:
    """A weight that is no number."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(helper.make_tensor("bad", TensorProto.FLOAT, [1], [float("nan")]))

    return _model(path, change)


def many_fields(path: Path) -> Path:
    """Ten million empty inputs of one node."""
    node = b"\x0a\x00" * 10_000_000
    graph = b"\x0a" + _varint(len(node)) + node
    path.write_bytes(b"\x42\x04\x0a\x00\x10\x11" + b"\x3a" + _varint(len(graph)) + graph)
    return path


def deep_card(path: Path) -> Path:
    """A card whose metrics are nested a hundred thousand deep."""
    model = tiny_graph(HOP_LENGTH, 3)
    card = write_card(tiny_card(model, "audio")).replace(
        '"metrics":{}', '"metrics":{"a":' + "[" * 100_000 + "]" * 100_000 + "}"
    )
    path.write_bytes(with_card(model, card))
    return path


def large_card(path: Path) -> Path:
    """A card of three million values."""
    model = tiny_graph(HOP_LENGTH, 3)
    card = write_card(tiny_card(model, "audio")).replace('"metrics":{}', '"metrics":{"a":[' + "0," * 3_000_000 + "0]}")
    path.write_bytes(with_card(model, card))
    return path


def _varint(value: int) -> bytes:
    parts = []
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def wav(path: Path, channels: int = 1, rate: int = 16000, claimed: int = 3200) -> Path:
    """A WAV file of 0.1 s with a header as it is told."""
    form = struct.pack("<HHIIHH", 1, channels, rate, min(rate * channels * 2, 2**32 - 1), channels * 2 % 65536, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", claimed) + bytes(3200)
    path.write_bytes(b"RIFF" + struct.pack("<I", min(2**32 - 1, 36 + claimed)) + body)
    return path


def flac(path: Path, rate: int) -> Path:
    """A FLAC file whose header has the rate that it is told."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(1600), 16000, format="FLAC")
    content = bytearray(file.getvalue())
    content[18:21] = (rate << 4 | content[20] & 15).to_bytes(3, "big")  # STREAMINFO: 20 bits of rate
    path.write_bytes(content)
    return path


def silence(path: Path) -> Path:
    """An hour of nothing: 230 MB of samples in less than a thousandth of it."""
    soundfile.write(path, np.zeros(3600 * 16000, np.int16), 16000, format="FLAC")
    return path


def gzip_bomb(path: Path) -> Path:
    """A megabyte that unpacks to a gibibyte."""
    path.write_bytes(gzip.compress(b"t,x\n" + b"0,0\n" * (4 << 20), mtime=0) * 64)
    return path


def npz_bomb(path: Path) -> Path:
    """A quarter of a megabyte that unpacks to 256."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<i2", "fortran_order": False, "shape": (128 << 20,)})
        with archive.open("counts.npy", "w") as member:
            member.write(header.getvalue())
            for _ in range(256):
                member.write(bytes(MEGABYTE))
    return path


def npz_claims(path: Path) -> Path:
    """An array that claims a terabyte and brings nothing."""
    with zipfile.ZipFile(path, "w") as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 37,)})
        archive.writestr("counts.npy", header.getvalue())
    return path


def parquet_bomb(path: Path) -> Path:
    """Forty million rows, all the same."""
    import pyarrow
    import pyarrow.parquet

    rows = pyarrow.table({"t": np.zeros(1 << 20), "x": np.zeros(1 << 20)})
    with pyarrow.parquet.ParquetWriter(path, rows.schema) as writer:
        for _ in range(40):
            writer.write_table(rows)
    return path
