"""A datagram on its way in: the same block as over ZeroMQ, in a fixed binary header that ten lines of C can write.

`docs/ingest.md` describes it byte by byte. Whatever the bytes, decoding gives a block or raises `RefusedError`.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from otolith.inference.framing import Samples
from otolith.wire.block import Format, Header, Kind, RefusedError, decode_name, read_samples

MAGIC = b"OTO"
VERSION = 1
HEADER = struct.Struct("<3sBBBBBII")  # magic, version, layout, flags, channels, name's bytes, seq, rate in mHz
NAME_LENGTH_AT = 7
LAYOUTS: dict[int, tuple[Kind, Format]] = {1: ("audio", "s16le"), 2: ("audio", "f32le"), 3: ("sensor", "f32le")}
END = 0x01
SEQ_RANGE = 1 << 32  # seq counts samples and begins again from 0 behind this
MAX_DATAGRAM_BYTES = 1472  # what fits an Ethernet frame: a larger one travels in pieces and is lost with any of them
MAX_CHANNELS = 64


def encode_datagram(stream: str, header: Header, samples: NDArray[np.generic]) -> bytes:
    """One datagram; the samples have the header's format already. `boot` and `time_ns` do not travel."""
    name = stream.encode()
    layout = next(number for number, what in LAYOUTS.items() if what == (header.kind, header.format))
    flags = END if header.end else 0
    fields = (layout, flags, header.channels, len(name), header.seq % SEQ_RANGE, round(header.rate * 1000))
    return HEADER.pack(MAGIC, VERSION, *fields) + name + samples.tobytes()


def name_in(data: bytes) -> bytes:
    """The bytes where the stream's name stands, unchecked; none where the datagram is too short to say."""
    return data[HEADER.size : HEADER.size + data[NAME_LENGTH_AT]] if len(data) >= HEADER.size else b""


def decode_datagram(data: bytes, sender: str) -> tuple[str, Header, Samples]:
    """As `decode_block`; `sender` stands for the run, `seq` counts modulo `SEQ_RANGE`. Raises `RefusedError`."""
    if len(data) > MAX_DATAGRAM_BYTES:
        raise RefusedError("oversized", f"more than {MAX_DATAGRAM_BYTES} bytes in a datagram; send shorter blocks")
    if len(data) < HEADER.size:
        raise RefusedError("malformed", f"a datagram of {len(data)} bytes; the header alone has {HEADER.size}")
    magic, version, layout, flags, channels, name_bytes, seq, rate_mhz = HEADER.unpack_from(data)
    if (magic, version) != (MAGIC, VERSION):
        raise RefusedError(
            "malformed", f"begins with {data[:4]!r}; datagrams begin with {MAGIC!r} and the version {VERSION}"
        )
    if layout not in LAYOUTS or not 1 <= channels <= MAX_CHANNELS or not 0 < rate_mhz <= 1_000_000_000:
        raise RefusedError(
            "malformed", f"layout {layout}, {channels} channels, rate {rate_mhz} mHz; see docs/ingest.md"
        )
    kind, sample_format = LAYOUTS[layout]
    name = decode_name(data[HEADER.size : HEADER.size + name_bytes])
    samples = read_samples(data[HEADER.size + name_bytes :], kind, sample_format, channels)
    header = Header(
        boot=sender,
        seq=seq,
        kind=kind,
        format=sample_format,
        rate=rate_mhz / 1000,
        channels=channels,
        end=bool(flags & END),
    )
    return name, header, samples
