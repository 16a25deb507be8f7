"""The recorder: what the disk cannot take is a hole that is told, and never more than the quota is kept."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from otolith.settings import RecorderSettings
from otolith.sinks import recorder as module
from otolith.sinks.archive import Begin
from otolith.sinks.recorder import Disk, Recorder
from otolith.sinks.segment import Ending, Heard, Opening, Recorded, read_segment
from otolith.sinks.shelves import segments
from otolith.wire.messages import GapMessage

BLOCK = 8000
NOISE = np.random.default_rng(0).integers(-32768, 32768, BLOCK).astype(np.int16)  # FLAC makes it no smaller


def opening(stream: str, follows: str, missed: int) -> Opening:
    return Opening(
        stream=stream, boot="b", model="m@1", digest="1", kind="audio", rate=16000.0, dtype="<i2", width=0,
        posteriors_per_s=10.0, triggers={}, before=b"", follows=follows, missed=missed,
    )  # fmt: skip


def begin(recorder: Recorder, stream: str, how: Ending = "goes on") -> None:
    recorder.begin(stream, Begin(partial(opening, stream), how, recorder.take_missed(stream)))


def hear(recorder: Recorder, stream: str, blocks: int) -> None:
    for _ in range(blocks):
        recorder.hear(stream, Heard(BLOCK, 1), NOISE)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def written(recorder: Recorder) -> list[Recorded]:
    recorder.close()
    recorder._thread.join(20)
    return [read_segment(each.log) for each in segments(recorder.root)]


def settings(folder: Path, megabytes: float = 100.0) -> RecorderSettings:
    return RecorderSettings(folder=str(folder / "tapes"), megabytes=megabytes)


def test_blocks_and_messages_of_a_stream_stand_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    recorder = Recorder(settings(tmp_path), Disk())
    begin(recorder, "kitchen")
    hear(recorder, "kitchen", 2)
    gap = GapMessage(boot="b", seq=0, stream="kitchen", model="m@1", time_ns=1, position=2, lost=3, reason="r")
    recorder.take(gap)
    recorder.take(GapMessage(boot="b", seq=0, stream="hall", model="m@1", time_ns=1, position=2, lost=3, reason="r"))
    begin(recorder, "kitchen")
    hear(recorder, "kitchen", 1)
    recorder.end("kitchen", "ended")
    first, second = written(recorder)
    assert (len(first.heard), len(first.told), first.how) == (2, 1, "goes on")
    assert (len(second.heard), second.how, second.opening.follows) == (1, "ended", first.log.stem)
    np.testing.assert_array_equal(list(first.blocks())[1][1], NOISE)
    assert stat.S_IMODE((tmp_path / "tapes").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "tapes" / "kitchen").stat().st_mode) == 0o700


def test_a_disk_that_is_too_slow_leaves_a_hole_that_the_next_segment_tells_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_BYTES", 10 * NOISE.nbytes)
    recorder = Recorder(settings(tmp_path), Disk())
    begin(recorder, "kitchen")
    started_s = time.monotonic()
    hear(recorder, "kitchen", 100)
    assert time.monotonic() - started_s < 5
    assert not recorder.is_open("kitchen")
    wait_for(lambda: recorder.has_room)
    begin(recorder, "kitchen", "broken")
    hear(recorder, "kitchen", 1)
    recorder.end("kitchen", "ended")
    first, second = written(recorder)
    assert first.how == "broken"
    assert 0 < len(first.heard) < 100
    assert second.opening.follows == ""
    assert second.opening.missed == (100 - len(first.heard)) * BLOCK


def test_the_quota_is_held_and_the_oldest_goes_first(tmp_path: Path) -> None:
    most = 10.5 * NOISE.nbytes
    recorder = Recorder(settings(tmp_path, most / 1e6), Disk())
    largest = 0
    for number in range(12):
        begin(recorder, f"s{number % 2}")
        hear(recorder, f"s{number % 2}", 2)
        wait_for(lambda: not recorder._queue)
        largest = max(largest, sum(each.bytes for each in segments(recorder.root)))
    left = [each.opening.stream for each in written(recorder)]
    assert 3 <= len(left) <= 5
    # two segments may be written before the oldest goes, and one stands beside its final form for a moment
    assert largest <= most + 6 * NOISE.nbytes
    assert sum(each.bytes for each in segments(recorder.root)) <= most


def test_a_segment_that_alone_is_more_than_the_quota_goes_too(tmp_path: Path) -> None:
    recorder = Recorder(settings(tmp_path, 3 * NOISE.nbytes / 1e6), Disk())
    begin(recorder, "kitchen")
    hear(recorder, "kitchen", 5)
    wait_for(lambda: not recorder.is_open("kitchen"))
    assert written(recorder) == []


def test_a_disk_that_fails_is_told_and_segments_begin_again_when_it_heals(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "tapes").write_text("no folder")
    recorder = Recorder(settings(tmp_path), Disk(told.append, lambda: told.append("mended")))
    begin(recorder, "kitchen")
    hear(recorder, "kitchen", 1)
    wait_for(lambda: len(told) > 0)
    assert told[0].endswith("File exists")
    assert not recorder.has_room
    (tmp_path / "tapes").unlink()
    wait_for(lambda: recorder.has_room and not recorder.is_open("kitchen"))
    begin(recorder, "kitchen")
    hear(recorder, "kitchen", 1)
    wait_for(lambda: "mended" in told)
    recorder.end("kitchen", "ended")
    assert [each.how for each in written(recorder)][-1] == "ended"


def test_a_disk_that_hangs_is_told_by_whoever_brings_more_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLOW_S", 0.1)
    told: list[str] = []
    answers = Event()
    recorder = Recorder(settings(tmp_path), Disk(told.append, lambda: told.append("mended")))

    def make(follows: str, missed: int) -> Opening:
        answers.wait(20)  # in the thread that writes
        return opening("kitchen", follows, missed)

    recorder.begin("kitchen", Begin(make, "goes on"))
    wait_for(lambda: hear(recorder, "kitchen", 1) or len(told) > 0)
    assert told[0].endswith("the disk does not answer")
    answers.set()
    wait_for(lambda: "mended" in told)
    recorder.end("kitchen", "ended")
    [segment] = written(recorder)
    assert (segment.how, segment.opening.missed) == ("ended", 0)


def test_samples_that_no_disk_took_are_told_of_to_the_last(tmp_path: Path) -> None:
    """Also those that were to be told of by segments that could not be begun."""
    tapes, aside, told = tmp_path / "tapes", tmp_path / "aside", []
    recorder = Recorder(settings(tmp_path), Disk(told.append, lambda: told.append("mended")))
    brought = 0

    def bring(is_enough: Callable[[], bool]) -> None:
        nonlocal brought
        while not is_enough():
            if not recorder.is_open("kitchen") and recorder.has_room:
                begin(recorder, "kitchen", "broken")
            hear(recorder, "kitchen", 1)
            brought += 1
            time.sleep(0.02)

    bring(lambda: bool(segments(tapes)))
    tapes.rename(aside)
    tapes.write_text("no folder")
    bring(lambda: len(told) >= 3)
    tapes.unlink()
    bring(lambda: "mended" in told)
    recorder.end("kitchen", "ended")
    kept = [*written(recorder), *(read_segment(each.log) for each in segments(aside))]
    assert sum(each.opening.missed + BLOCK * len(each.heard) for each in kept) == brought * BLOCK
    assert stat.S_IMODE(tapes.stat().st_mode) == 0o700


def test_models_that_other_workers_segments_are_of_stay(tmp_path: Path) -> None:
    other = Recorder(settings(tmp_path), Disk())
    begin(other, "kitchen")
    written(other)
    model = tmp_path / "tapes" / "models" / "1.onnx"
    model.parent.mkdir()
    model.write_bytes(b"")
    os.utime(model, (time.time() - 70, time.time() - 70))
    began = f"{time.time_ns() - 80 * 10**9:020}"
    for path in (tmp_path / "tapes" / "kitchen").iterdir():
        path.rename(path.with_stem(began))
    written(Recorder(settings(tmp_path), Disk(is_mine=lambda _stream: False)))
    assert model.exists()


def test_what_a_killed_run_left_raw_takes_its_final_form(tmp_path: Path) -> None:
    first = Recorder(settings(tmp_path), Disk())
    begin(first, "kitchen")
    hear(first, "kitchen", 2)
    [before] = written(first)  # it was never ended
    assert before.how == "broken"
    assert before.log.with_suffix(".part").exists()
    second = Recorder(settings(tmp_path), Disk())
    wait_for(before.log.with_suffix(".flac").exists)
    [after] = written(second)
    np.testing.assert_array_equal(list(after.blocks())[1][1], NOISE)
