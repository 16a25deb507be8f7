"""A segment: what was written is read, to the last bit, and as far as it is whole."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from otolith.errors import RecordingError
from otolith.inference.framing import INT16_SCALE
from otolith.sinks.segment import Heard, Opening, Segment, finish, read_segment

INT16 = np.random.default_rng(0).integers(-32768, 32768, 5000).astype(np.int16)
FLOATS = np.random.default_rng(0).uniform(-3, 3, 5000).astype(np.float32)
ROWS = np.random.default_rng(0).standard_normal((700, 3)).astype(np.float32)
TOKENS = np.arange(100)


def opening(kind: str, samples: NDArray[Any], stream: str) -> Opening:
    width = samples.shape[1] if samples.ndim == 2 else 0
    return Opening(
        stream=stream, boot="b", model="m@1", digest="1", kind=kind, rate=16000.0, dtype=samples.dtype.str,
        width=width, posteriors_per_s=10.0, triggers={}, before=b"before",
    )  # fmt: skip


def write(folder: Path, kind: str, samples: NDArray[Any], stream: str = "kitchen", *, closes: bool = True) -> Path:
    """In blocks of a hundred."""
    segment = Segment(folder, "1", opening(kind, samples, stream))
    for start in range(0, len(samples), 100):
        piece = samples[start : start + 100]
        segment.hear(Heard(len(piece), start, lost=start, reason="r" if start else "", ends=start == 100), piece)
        segment.flush()
    if closes:
        segment.close("ended")
    return folder / "1.log"


@pytest.mark.parametrize(
    ("kind", "samples", "suffix"),
    [
        ("audio", INT16, ".flac"),
        ("audio", INT16 * INT16_SCALE, ".flac"),
        ("audio", FLOATS, ".wav"),
        ("audio", np.array([np.nan, np.inf, 1e30], np.float32), ".wav"),
        ("sensor", ROWS, ".npy"),
        ("token", TOKENS, ".npy"),
    ],
)
def test_every_kind_of_input_comes_back_to_the_bit(
    kind: str, samples: NDArray[Any], suffix: str, tmp_path: Path
) -> None:
    log = write(tmp_path, kind, samples)
    raw = read_segment(log)
    finish(log)
    assert {path.suffix for path in tmp_path.iterdir()} == {".log", suffix}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    for recorded in (raw, read_segment(log)):
        assert recorded.how == "ended"
        heard = np.concatenate([piece for _, piece in recorded.blocks()])
        assert heard.dtype == samples.dtype
        np.testing.assert_array_equal(heard, samples)
        assert [heard.time_ns for heard in recorded.heard] == list(range(0, len(samples), 100))


def test_flac_is_smaller_than_what_it_was_made_of(tmp_path: Path) -> None:
    tone = (8000 * np.sin(np.arange(16000) / 20)).astype(np.int16)
    log = write(tmp_path, "audio", tone)
    freed = finish(log)
    assert freed == 2 * len(tone) - log.with_suffix(".flac").stat().st_size > 0


def test_a_log_that_was_cut_off_anywhere_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    log = write(tmp_path, "audio", INT16[:900])
    content = log.read_bytes()
    whole = read_segment(log)
    counts = set()
    for length in range(len(content)):
        log.write_bytes(content[:length])
        try:
            recorded = read_segment(log)
        except RecordingError:
            continue
        assert recorded.how == "broken"
        assert recorded.heard == whole.heard[: len(recorded.heard)]
        counts.add(len(recorded.heard))
    assert counts == set(range(10))


def test_samples_that_were_cut_off_end_it_at_the_last_whole_block(tmp_path: Path) -> None:
    log = write(tmp_path, "audio", INT16[:900], closes=False)
    raw = log.with_suffix(".part")
    raw.write_bytes(raw.read_bytes()[:1001])
    recorded = read_segment(log)
    assert (recorded.how, len(recorded.heard)) == ("broken", 5)


def test_a_flipped_byte_in_the_log_ends_it_there(tmp_path: Path) -> None:
    log = write(tmp_path, "audio", INT16[:900])
    content = bytearray(log.read_bytes())
    content[-60] ^= 4
    log.write_bytes(content)
    recorded = read_segment(log)
    assert recorded.how == "broken"
    assert 0 < len(recorded.heard) < 9


def test_what_is_no_segment_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.log").write_bytes(b"\0" * 100)
    with pytest.raises(RecordingError, match="no segment of a recording"):
        read_segment(tmp_path / "1.log")
