"""Text files as sources."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from otolith.errors import RecordingError
from otolith.inference.model import Model
from otolith.sources.recording import read_recording


def test_a_text_file_is_read_line_by_line_at_its_tokens_pace(tiny_token: Model, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("a good film\nbad\n")
    blocks = list(read_recording(path, tiny_token.card, paced=False, start_ns=0).blocks(Event()))
    assert [(block.samples.tolist(), block.time_ns / 1e9) for block in blocks] == [([1, 2, 4], 3.0), ([3], 4.0)]
    assert all(block.ends for block in blocks)


def test_what_is_no_text_is_refused(tiny_token: Model, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(b"a good film\n\xff\xfe\n")
    with pytest.raises(RecordingError, match=r"lines\.txt: line 1 or one soon behind it is not UTF-8"):
        list(read_recording(path, tiny_token.card, paced=False).blocks(Event()))
