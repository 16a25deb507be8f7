"""Standard input as a source: samples and rows, whole and broken."""

from __future__ import annotations

import os
import threading
import time
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otolith.errors import SourceError
from otolith.inference.model import Model
from otolith.sources.pipe import open_pipe
from otolith.sources.reading.contents import LINE_TOO_LONG
from otolith.sources.reading.rows import NOT_A_NUMBER, TOO_LONG, WIDTH
from otolith.sources.source import Block, Spec

ROW = b"1,2,3,4,5,6\n"


def piped(pieces: list[bytes], model: Model, options: str = "") -> list[Block]:
    """Blocks of what a writer in a thread of its own puts into a real pipe, piece by piece."""
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as pipe:
            for piece in pieces:
                pipe.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        return list(open_pipe(Spec.parse(f"pipe:{options}"), model.card, read_end).blocks(Event()))
    finally:
        os.close(read_end)
        writer.join()


def joined(blocks: list[Block]) -> np.ndarray:
    return np.concatenate([block.samples for block in blocks])


@given(cuts=st.lists(st.integers(0, 4000), max_size=10).map(sorted))
@settings(max_examples=25, deadline=None)
def test_samples_arrive_whole_however_the_writer_cuts_them(tiny_audio: Model, cuts: list[int]) -> None:
    counts = np.random.default_rng(0).integers(-32768, 32767, 2000, np.int16)
    data = counts.astype("<i2").tobytes()
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    np.testing.assert_array_equal(joined(piped(pieces, tiny_audio)), counts)


def test_channels_are_mixed_to_mono(tiny_audio: Model) -> None:
    stereo = np.array([[1000, 3000], [-2000, 0]], "<i2")
    mono = joined(piped([stereo.tobytes()], tiny_audio, "?channels=2"))
    np.testing.assert_allclose(mono, np.array([2000, -1000]) / 32768, rtol=1e-6)


def test_a_pipe_that_ends_in_the_middle_of_a_sample_gives_what_came_before(tiny_audio: Model) -> None:
    with pytest.raises(SourceError, match=r"ended in the middle of a sample \(1 of 2 bytes\)"):
        piped([bytes(2001)], tiny_audio)


def test_rows_come_with_or_without_a_header(tiny_sensor: Model) -> None:
    np.testing.assert_array_equal(joined(piped([ROW * 3], tiny_sensor)), [[1, 2, 3, 4, 5, 6]] * 3)
    header = b"t,gyro_z,acc_x,acc_y,acc_z,gyro_x,gyro_y\n"
    np.testing.assert_array_equal(joined(piped([header, b"0,6,1,2,3,4,5\n"], tiny_sensor)), [[1, 2, 3, 4, 5, 6]])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"1,2,three,4,5,6\n", NOT_A_NUMBER),
        (b"1,2,3\n", WIDTH),
        (b"nan,2,3,4,5,6\n", NOT_A_NUMBER),
        (b"\xff\xfe\n", WIDTH),
        (b"1" * 70_000 + b"\n", TOO_LONG),
    ],
)
def test_a_malformed_row_is_declared_and_the_pipe_reads_on(tiny_sensor: Model, bad: bytes, why: str) -> None:
    blocks = piped([ROW * 2 + bad * 3 + ROW], tiny_sensor)
    assert len(joined(blocks)) == 3
    assert sum(block.lost for block in blocks) == 3
    assert {block.reason for block in blocks if block.lost} == {why}


def test_a_first_line_that_names_other_columns_is_refused(tiny_sensor: Model) -> None:
    with pytest.raises(SourceError, match="neither 6 numbers nor a header that names acc_x"):
        piped([b"a,b\n1,2\n"], tiny_sensor)


def test_a_line_without_end_is_one_row_lost(tiny_sensor: Model) -> None:
    blocks = piped([ROW, *[b"1" * 50_000] * 20, b"\n" + ROW], tiny_sensor)
    assert len(joined(blocks)) == 2
    assert [(block.lost, block.reason) for block in blocks if block.lost] == [(1, TOO_LONG)]


def test_the_last_line_needs_no_newline(tiny_sensor: Model) -> None:
    assert len(joined(piped([ROW + ROW.rstrip()], tiny_sensor))) == 2


def test_a_silent_pipe_can_be_stopped(tiny_audio: Model) -> None:
    read_end, write_end = os.pipe()
    stop = Event()
    threading.Timer(0.1, stop.set).start()
    started = time.monotonic()
    assert list(open_pipe(Spec.parse("pipe:"), tiny_audio.card, read_end).blocks(stop)) == []
    assert time.monotonic() - started < 1
    os.close(read_end)
    os.close(write_end)


def test_a_line_of_text_is_a_block_of_tokens_and_an_utterance(tiny_token: Model) -> None:
    blocks = piped([b"A good fi", b"lm\n\nbad", b" \xff film"], tiny_token)
    assert [(block.samples.tolist(), block.ends) for block in blocks] == [
        ([1, 2, 4], True),
        ([], True),
        ([3, 0, 4], True),
    ]
    assert all(block.samples.dtype == np.int64 for block in blocks)


def test_a_line_of_text_without_an_end_is_declared(tiny_token: Model) -> None:
    blocks = piped([b"good " * 30_000, b"\ngood\n"], tiny_token)
    assert [(len(block.samples), block.lost, block.reason) for block in blocks] == [
        (0, 1, LINE_TOO_LONG),
        (1, 0, ""),
    ]
