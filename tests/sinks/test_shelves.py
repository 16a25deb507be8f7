"""Shelves: which segments have to go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otolith.sinks.segment import Opening, Segment
from otolith.sinks.shelves import folder_of, outdated, remove_until, segments, stream_of


def put(root: Path, stream: str, name: int, size: int = 100, written_s: float = 1000.0) -> None:
    folder = folder_of(root, stream)
    folder.mkdir(exist_ok=True, parents=True)
    for suffix, share in ((".log", size // 4), (".flac", size - size // 4)):
        path = folder / f"{name:020}{suffix}"
        path.write_bytes(b"x" * share)
        os.utime(path, (written_s, written_s))


def test_segments_of_all_streams_are_found_the_oldest_first(tmp_path: Path) -> None:
    put(tmp_path, "kitchen", 5)
    put(tmp_path, "hall", 3, size=40)
    put(tmp_path, "kitchen", 1)
    (tmp_path / "models").mkdir()
    assert [(each.folder.name, int(each.name), each.bytes) for each in segments(tmp_path)] == [
        ("kitchen", 1, 100), ("hall", 3, 40), ("kitchen", 5, 100),
    ]  # fmt: skip
    assert len(segments(tmp_path, "hall")) == 1


def test_what_lies_before_a_streams_last_minutes_or_is_too_old_goes(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path, "kitchen", number, written_s=1000 + 60 * number)
    put(tmp_path, "hall", 9, written_s=1000)
    names = [(each.folder.name, int(each.name)) for each in outdated(segments(tmp_path), 2.5, 1.0, 1300)]
    assert names == [("kitchen", 0), ("kitchen", 1)]
    old = outdated(segments(tmp_path), 1000, 100 / 86400, 1300)
    assert {int(each.name) for each in old} == {0, 1, 2, 3, 9} - {3} | {3}


def test_the_oldest_go_until_there_is_room_and_their_folder_with_the_last(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path, f"s{number}", number)
    assert remove_until(segments(tmp_path), 150, lambda each: each.folder.name != "s0") == 200
    assert [path.name for path in tmp_path.iterdir()] == ["s0"]


@pytest.mark.parametrize("stream", ["..", ".", "models", "é" * 64, "𝔞" * 64])
def test_no_name_of_a_stream_leads_out_of_the_folder(stream: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, stream)
    folder.mkdir()
    assert folder.resolve().parent == tmp_path.resolve()
    assert folder.name != "models"


@pytest.mark.parametrize("stream", ["kitchen", "kitchen_", "models", "...", "\N{GRINNING FACE}" * 60, "f" * 64])
def test_a_segment_tells_whose_it_is_whatever_its_folder_is_called(stream: str, tmp_path: Path) -> None:
    opening = Opening(
        stream=stream, boot="b", model="m@1", digest="1", kind="audio", rate=16000.0, dtype="<i2", width=0,
        posteriors_per_s=10.0, triggers={}, before=b"",
    )  # fmt: skip
    Segment(folder_of(tmp_path, stream), "1", opening)
    assert [stream_of(each) for each in segments(tmp_path)] == [stream]
