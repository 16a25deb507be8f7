"""Accounting: whatever lines come in whatever pieces, every row is heard or counted as lost, once."""

from __future__ import annotations

from itertools import count, pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from otolith.sources.reading.contents import RowContents
from otolith.sources.reading.losses import Losses
from otolith.sources.reading.rows import RowReader
from otolith.sources.reading.timed import Splitter
from otolith.sources.reading.timeline import Timeline
from otolith.sources.source import Block

RATE = 100.0
CUTS = st.lists(st.integers(0, 1 << 16), max_size=20)

whole = st.sampled_from([b"1,2", b" 1 , -2.5e3\r", b"[1, 2]", b'{"b": 2, "a": 1, "note": "x"}', b'{"a":1,"b":2}'])
broken = st.sampled_from(
    [b"1", b"1,2,3", b"1,x", b"nan,1", b"[1]", b'{"a": 1}', b"[1,", b"1e39,0", b"[true,1]", b"{" * 5000]
)
lines = st.lists(whole | broken | st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=40)


def blocks_of(data: bytes, cuts: list[int]) -> list[Block]:
    """What comes of `data`, read in pieces."""
    contents, splitter, losses = RowContents(RowReader(["a", "b"])), Splitter(Timeline(RATE)), Losses("a sensor")
    clock = (number / RATE for number in count())
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    blocks = []
    for start, end in pairwise(places):
        for block in contents.push(data[start:end]):
            now_s = next(clock)
            for piece in splitter.push(block, now_s):
                blocks += losses.push(piece, now_s)
    return [*blocks, *losses.end()]


def counted(blocks: list[Block]) -> int:
    return sum(len(block.samples) + block.lost for block in blocks)


@given(lines=lines, cuts=CUTS)
@settings(max_examples=150, deadline=None)
def test_every_line_is_a_row_or_a_declared_loss(lines: list[bytes], cuts: list[int]) -> None:
    blocks = blocks_of(b"".join(line + b"\n" for line in lines), cuts)
    assert counted(blocks) == sum(bool(line.strip()) for line in lines)
    assert all(np.isfinite(block.samples).all() for block in blocks)
    assert all(bool(block.reason) == bool(block.lost) for block in blocks)


@given(
    faults=st.lists(st.tuples(st.sampled_from(["missing", "garbage", "twice", "swapped"]), st.integers(1, 9))),
    jitter=st.sampled_from([0.0, 0.1]),
    drift=st.sampled_from([-5e-4, 0.0, 5e-4]),
    cuts=CUTS,
)
@settings(max_examples=150, deadline=None)
def test_of_rows_with_times_the_missing_ones_are_counted_as_well(
    faults: list[tuple[str, int]], jitter: float, drift: float, cuts: list[int]
) -> None:
    rng, numbers = np.random.default_rng(len(faults)), count()
    text, doubles = ["a,t,b\n"], 0

    def row() -> str:
        number = next(numbers)
        time_s = 50 + (number + rng.uniform(-jitter, jitter)) / RATE * (1 + drift)
        return f"{number},{time_s:.6f},0\n"

    for fault, much in faults:
        text += [row() for _ in range(10)]
        if fault == "missing":
            [next(numbers) for _ in range(much)]
        elif fault == "garbage":
            text += [f"{row()[:3]}\n" for _ in range(much)]
        elif fault == "twice":
            text.append(text[-1])
            doubles += 1
        else:
            text += [row() for _ in range(much)][::-1]
    text.append(row())
    blocks = blocks_of("".join(text).encode(), cuts)
    assert counted(blocks) == next(numbers) + doubles
    heard = np.concatenate([block.samples for block in blocks if len(block.samples)])
    assert (np.diff(heard[:, 0]) > 0).all()  # each once, in order
