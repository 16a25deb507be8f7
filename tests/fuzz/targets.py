"""What is fuzzed: each door that strangers' bytes come in by, with valid cases to begin from."""

from __future__ import annotations

import gzip
import hashlib
import io
import socket
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import soundfile

from otolith.inference.card import Channel
from otolith.inference.card_text import read_card
from otolith.inference.engine import Engine
from otolith.inference.gate import gate
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.recordings import AudioFile, read_lines, read_sensor
from otolith.service.control import Control
from otolith.service.keeping import checkpoint as checkpoints
from otolith.service.keeping.resumption import misfit
from otolith.service.listener import Listener
from otolith.settings import IngestSettings, read_settings
from otolith.sinks.segment import HEAD, Heard, Opening, Segment, read_segment
from otolith.sources.network.roster import Roster
from otolith.sources.reading.contents import RowContents
from otolith.sources.reading.rows import RowReader, read_payload
from otolith.sources.reading.timed import Splitter
from otolith.sources.reading.timeline import Timeline
from otolith.sources.recording import open_recording
from otolith.sources.source import Block, Spec
from otolith.trial import Trial
from otolith.wire.block import Answer as BlockAnswer
from otolith.wire.block import Header, decode_answer, decode_block, encode_answer, encode_block
from otolith.wire.control import Answer, Request
from otolith.wire.control import decode_answer as decode_word
from otolith.wire.datagram import SEQ_RANGE, decode_datagram, encode_datagram
from otolith.wire.keys import make_keys, read_pair, read_public
from otolith.wire.messages import (
    AnomalyMessage,
    DetectionMessage,
    ForecastMessage,
    GapMessage,
    Message,
    PosteriorsMessage,
    StatusMessage,
    as_dict,
    decode,
    encode,
    topic_of,
)
from otolith.wire.scribe import Scribe
from tests.fuzz.harness import Reader
from tests.tiny import shaped_graph, tiny_card, tiny_graph, with_card, write_card, write_tiny

ROOT = Path(__file__).parent.parent.parent
LISTENED_CASES = 1000  # by one roster, before there is a new one


@dataclass(frozen=True, slots=True)
class Target:
    """A reader, and valid cases for it. Files are written to a folder that goes with it."""

    read: Reader
    seeds: list[bytes]
    close: Callable[[], None] = lambda: None
    may_grow: bool = False  # where a library keeps memory, and we cannot help it


def _framed(parts: list[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(2, "little") + part for part in parts)


def _parts(case: bytes) -> list[bytes]:
    """Parts of a message, each behind its length; the last is what is left."""
    parts = []
    while len(case) > 2 and len(parts) < 5:
        size = int.from_bytes(case[:2], "little")
        parts.append(case[2 : 2 + size])
        case = case[2 + size :]
    return parts


HEADERS = [
    Header(boot="a", seq=0, kind="audio", format="s16le", rate=16000.0),
    Header(boot="a", seq=100, kind="audio", format="f32le", rate=44100.0, channels=2, time_ns=1 << 60),
    Header(boot="b", seq=1 << 61, kind="sensor", format="f32le", rate=100.0, channels=6, end=True),
]
SAMPLES = np.linspace(-1, 1, 96, dtype="<f4")


class _Listening:
    """A roster that takes what was decoded, with time going on."""

    def __init__(self, wrap: int) -> None:
        self._wrap, self._cases = wrap, 0
        self._begin()

    def take(self, stream: str, header: Header, samples: Any) -> None:
        self._cases += 1
        if self._cases % LISTENED_CASES == 0:
            self._begin()
        now_s = self._cases * 0.05
        self._roster.take(stream, header, samples, b"", now_s, (1 << 60) + round(now_s * 1e9), self._wrap)
        self._roster.arrivals()
        self._roster.sweep(now_s)

    def _begin(self) -> None:
        self._roster: Roster[bytes] = Roster(IngestSettings(max_streams=50, max_bytes=1 << 18), lambda _opened: "")


def block(_folder: Path) -> Target:
    listening = _Listening(0)
    seeds = [
        _framed(encode_block(f"room-{n}", h, SAMPLES.astype("<i2") if h.format == "s16le" else SAMPLES))
        for n, h in enumerate(HEADERS)
    ]
    return Target(lambda case: listening.take(*decode_block(_parts(case))), seeds)


def datagram(_folder: Path) -> Target:
    listening = _Listening(SEQ_RANGE)
    seeds = [
        encode_datagram(f"room-{n}", h, SAMPLES.astype("<i2") if h.format == "s16le" else SAMPLES)
        for n, h in enumerate(HEADERS)
    ]
    return Target(lambda case: listening.take(*decode_datagram(case, "10.0.0.1|7")), seeds)


def control(folder: Path) -> Target:
    """Through the daemon's own way with whoever connects."""
    server = Control(folder / "control.sock", lambda _request: Answer(changes=["none"]))

    def read(case: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.settimeout(0.2)
            ours.sendall(case[:60_000])
            ours.shutdown(socket.SHUT_WR)
            with suppress(OSError, ValueError):  # as the daemon does where somebody says nothing that ends
                server.serve(theirs)
            theirs.close()
            assert b"on a bug" not in ours.recv(4096)

    requests: list[Request] = [Request("status"), Request("reload")]
    return Target(read, [msgspec.json.encode(request) + b"\n" for request in requests], server.close)


def answers(_folder: Path) -> Target:
    """What those who ask a daemon, or send to it, are told."""
    told = [BlockAnswer(kind="refused", reason="late", text="came late", passing=True), BlockAnswer(kind="welcome")]
    seeds = [b"0" + encode_answer(answer) for answer in told]
    seeds.append(b"1" + msgspec.json.encode(Answer(error="no", changes=["a", "b"])) + b"\n")

    def read(case: bytes) -> None:
        if case[:1] == b"0":
            decode_answer([b"kitchen", case[1:]])
        else:
            decode_word(case[1:])

    return Target(read, seeds)


def messages(_folder: Path) -> Target:
    """As a subscriber reads them."""
    head: dict[str, Any] = {"boot": "b", "seq": 1, "stream": "kitchen", "model": "m@1", "time_ns": 1, "position": 320}
    values = np.ones(6, "<f4").tobytes()
    valid: list[Message] = [
        PosteriorsMessage(**head, labels=["a", "b", "c"], frames=2, values=values),
        ForecastMessage(**head, channels=["x"], horizon=3, frames=2, values=values, scores=values[:8]),
        DetectionMessage(**head, id=1, label="a", phase="start", confidence=0.5, onset_ns=1, latency_ms=1.0),
        AnomalyMessage(**head, id=1, phase="end", score=0.5, onset_ns=1, latency_ms=1.0),
        GapMessage(**head, lost=3, reason="late"),
        StatusMessage(
            **head,
            frames=1,
            gaps=0,
            lost=0,
            drops=0,
            real_time_factor=0.1,
            uptime_s=1.0,
            level_dbfs=None,
            refused={"late": 1},
        ),
    ]

    def read(case: bytes) -> None:
        message = decode(_parts(case))
        if message is not None:
            msgspec.json.encode(as_dict(message))

    return Target(read, [_framed([topic_of(message), encode(message)]) for message in valid])


def settings(folder: Path) -> Target:
    write_tiny(folder / "m.onnx", "audio")
    path = folder / "otolith.toml"
    example = (ROOT / "systemd" / "otolith.toml").read_bytes()
    short = b"""publish = "tcp://127.0.0.1:7311"
[[stream]]
name = "kitchen"
model = "m.onnx"
source = "recording:CLIP?pace=none"
[stream.detector.yes]
threshold = 0.5
[ingest]
bind = ["udp://127.0.0.1:7313"]
[[route]]
pattern = "kitchen-*"
model = "m.onnx"
[engine]
largest_batch = 64
"""

    wanted = Model.open(folder / "m.onnx").card

    def read(case: bytes) -> None:
        path.write_bytes(case)
        for stream in read_settings(path).stream:
            source = Spec.parse(stream.source)
            if source.scheme == "recording":
                open_recording(source, wanted)

    short = short.replace(b"CLIP", str(folder / "clip.wav").encode())
    (folder / "clip.wav").write_bytes(_sound("WAV", "PCM_16"))
    return Target(read, [short, short.replace(b"\n", b"\n\n"), example.replace(b"words.onnx", b"m.onnx")][:2])


def model(_folder: Path) -> Target:
    """The gate and the card: all that stands before the runtime."""
    graphs = [tiny_graph(320, 3), shaped_graph()]
    seeds = [with_card(graph, write_card(tiny_card(graph, "audio"))) for graph in graphs]
    return Target(lambda case: read_card(gate.inspect(case, "m"), "m"), seeds)


def card(_folder: Path) -> Target:
    graph = tiny_graph(320, 3)
    short = write_card(tiny_card(graph, "audio"))
    real = gate.inspect((ROOT / "exported_models" / "motion.onnx").read_bytes(), "motion")
    return Target(lambda case: read_card(case.decode("utf-8", "surrogateescape"), "m"), [short.encode(), real.encode()])


def opened(folder: Path) -> Target:
    """The whole way of a stranger's model, with the process that tries it."""
    graphs = [tiny_graph(320, 3), shaped_graph()]
    path, trials = folder / "m.onnx", [Trial()]

    def read(case: bytes) -> None:
        path.write_bytes(case)
        try:
            trials[0].open(path)
        finally:
            if not trials[0].is_alive:
                trials[0].close()
                trials[0] = Trial()

    seeds = [with_card(graph, write_card(tiny_card(graph, "audio"))) for graph in graphs]
    return Target(read, seeds, lambda: trials[0].close())


def _sound(kind: str, subtype: str, channels: int = 1) -> bytes:
    file = io.BytesIO()
    tone = 0.5 * np.sin(np.arange(2000 * channels) / 7).reshape(-1, channels)
    soundfile.write(file, tone, 16000, format=kind, subtype=subtype)
    return file.getvalue()


def sound(folder: Path) -> Target:
    """Formats that libsndfile reads, but Vorbis."""
    seeds = [_sound("WAV", "PCM_16"), _sound("WAV", "FLOAT", 2), _sound("WAV", "IMA_ADPCM"), _sound("FLAC", "PCM_16")]
    seeds += [_sound("OGG", "OPUS"), _sound("MP3", "MPEG_LAYER_III"), _sound("AIFF", "PCM_24")]
    seeds += [_sound("W64", "PCM_16"), _sound("AU", "ULAW")]
    return Target(_listening_to(folder / "clip"), seeds)


def vorbis(folder: Path) -> Target:
    """libsndfile 1.2.2 keeps 5 kB of each file that begins as Vorbis and cannot be opened."""
    return Target(_listening_to(folder / "clip"), [_sound("OGG", "VORBIS")], may_grow=True)


def _listening_to(path: Path) -> Reader:
    def read(case: bytes) -> None:
        path.write_bytes(case)
        with AudioFile(path) as file:
            for _ in file.blocks(1 << 14):
                pass

    return read


TABLE = b"t,acc_x,label\n" + b"".join(b"%d.5,%d,a\n" % (row, row % 7) for row in range(30))


def table(folder: Path) -> Target:
    path = folder / "run.csv"
    dates = b"date,load\n2016-07-01 00:00:00,1.5\n2016-07-01T03:00:00+02:00,2\n"

    def read(case: bytes) -> None:
        path.write_bytes(case)
        read_sensor(path)

    return Target(read, [TABLE, dates, b"timestamp,x\n1000,1\n2000,2\n"])


def packed_table(folder: Path) -> Target:
    path = folder / "run.csv.gz"

    def read(case: bytes) -> None:
        path.write_bytes(case)
        read_sensor(path)

    return Target(read, [gzip.compress(TABLE, mtime=0), gzip.compress(TABLE, 0, mtime=0)])


def parquet(folder: Path) -> Target:
    import pyarrow
    import pyarrow.parquet

    path = folder / "run.parquet"
    columns = {"t": [0.0, 0.5, 1.0], "x": [1.0, 2.0, 3.0], "label": ["a", "b", "b"]}
    seeds = []
    for compression in ("none", "snappy", "zstd"):
        file = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(columns), file, compression=compression)
        seeds.append(file.getvalue())

    def read(case: bytes) -> None:
        path.write_bytes(case)
        read_sensor(path)

    return Target(read, seeds)


def rows(_folder: Path) -> Target:
    """Lines from a pipe, a serial line or a broker, in pieces, with the times that they say."""
    seeds = [b"x,y\n1,2\n3,4\n", b"0.5,1e3\n-1,2\n" * 9, b"y,t,x\n1,0.01,3\n1,0.02,3\n1,9,3\n"]
    seeds += [b'{"t":1.0,"x":1,"y":2}\n{"timestamp":1020,"x":1,"y":2}\n', b"[[1,2],[3,4]]\n[5,6]\n"]

    def read(case: bytes) -> None:
        contents, splitter = RowContents(RowReader(("x", "y"))), Splitter(Timeline(100.0))
        pieces = [case[at : at + 50] for at in range(0, len(case), 50)]
        blocks = (block for piece in pieces for block in contents.push(piece))
        for block in chain(blocks, contents.end(), contents.blocks_of(read_payload(RowReader(("x", "y")), case))):
            for cut in splitter.push(block, 0.0):
                assert cut.lost >= 0
                assert np.isfinite(cut.samples).all()

    return Target(read, seeds)


def text(folder: Path) -> Target:
    path = folder / "lines.txt"

    def read(case: bytes) -> None:
        path.write_bytes(case)
        for _ in read_lines(path):
            pass

    return Target(read, ["a good film\nschöne Grüße\n\nthe end".encode()])


def keys(folder: Path) -> Target:
    public = make_keys(folder, "laptop")
    path = folder / "given.key_secret"

    def read(case: bytes) -> None:
        path.write_bytes(case)
        path.chmod(0o600)
        read_public(path)
        read_pair(path)

    return Target(read, [public.with_suffix(".key_secret").read_bytes()])


def checkpoint(folder: Path) -> Target:
    """A file of state whose digest is right, whoever wrote it, up to where it would be taken up again."""
    model = Model.open(write_tiny(folder / "m.onnx", "audio"))
    engine = Engine(model)
    listeners = {name: Listener(engine.add(), 16000, Scribe("b", name, model)) for name in ("one", "two")}
    for number, listener in enumerate(listeners.values()):
        listener.take(Block(np.arange(70 + number, dtype=np.int16), 10**9))
    valid = checkpoints.encode(checkpoints.collect(listeners.items()))
    stream = Stream(model)

    def read(case: bytes) -> None:
        digest = hashlib.blake2b(case, digest_size=checkpoints.DIGEST_BYTES).digest()
        for kept in checkpoints.spread(checkpoints.decode(checkpoints.FORMAT + digest + case)).values():
            misfit(kept.memory, stream)

    return Target(read, [valid[len(checkpoints.FORMAT) + checkpoints.DIGEST_BYTES :]])


def segment(folder: Path) -> Target:
    """A recording's log, with checksums that are right, beside samples that were not touched."""
    opening = Opening(
        stream="kitchen", boot="b", model="m@1", digest="1", kind="audio", rate=16000.0, dtype="<i2",
        width=0, posteriors_per_s=10.0, triggers={}, before=b"before",
    )  # fmt: skip
    written = Segment(folder, "1", opening)
    for _ in range(3):
        written.hear(Heard(100, 1, lost=2, reason="r"), np.zeros(100, np.int16))
    written.close("ended")
    valid, records, at = written.log.read_bytes(), list[bytes](), 0
    while at < len(valid):
        length, _ = HEAD.unpack_from(valid, at)
        records.append(valid[at + HEAD.size : at + HEAD.size + length])
        at += HEAD.size + length

    def read(case: bytes) -> None:
        parts = _parts(case)
        written.log.write_bytes(b"".join(HEAD.pack(len(part), zlib.crc32(part)) + part for part in parts))
        for _heard, _samples in read_segment(written.log).blocks():
            pass

    return Target(read, [_framed(records)])


def packed_signals(folder: Path) -> Target:
    """The trainer's packed recordings."""
    from otolith_training.data.signals import Format, read_signals

    arrays = {
        "counts": np.arange(12, dtype=np.int16)[:, None],
        "scale": np.ones((2, 1)),
        "offsets": np.array([0, 6, 12]),
        "sample_rate": np.array([100.0, 100.0]),
        "label": np.array(["a", "b"]),
    }
    plain, small = io.BytesIO(), io.BytesIO()
    np.savez(plain, **arrays)  # type: ignore[arg-type]
    np.savez_compressed(small, **arrays)  # type: ignore[arg-type]
    path, form = folder / "signals.npz", Format(100, Channel("x", "g"), 1.0)

    def read(case: bytes) -> None:
        path.write_bytes(case)
        read_signals(path, form)

    return Target(read, [plain.getvalue(), small.getvalue()])


TARGETS: dict[str, Callable[[Path], Target]] = {
    make.__name__: make
    for make in (
        *(block, datagram, control, answers, messages, settings, card, model, opened),
        *(sound, vorbis, table, packed_table, parquet, rows, text, keys, checkpoint, segment, packed_signals),
    )
}


def make(name: str) -> Target:
    """A target, with a folder that stays as long as the process."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - files are written a million times
    return TARGETS[name](Path(tempfile.mkdtemp(prefix=f"otolith-{name}-", dir=place)))
