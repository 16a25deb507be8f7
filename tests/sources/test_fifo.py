"""A FIFO whose writers come and go: nothing is spliced, and what is broken off is declared."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from otolith.errors import SourceError
from otolith.inference.model import Model
from otolith.sources.open import open_source
from otolith.sources.source import Source, Spec
from tests.sources.live import PROMPT_S, Reading

ROW = b"1,2,3,4,5,6\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def opened(path: Path, model: Model, *, waits: bool = False) -> Source:
    return open_source(Spec.parse(f"pipe:{path}"), model.card, waits=waits)


def write(path: Path, data: bytes) -> None:
    with path.open("wb", buffering=0) as fifo:
        fifo.write(data)


def test_each_writer_is_heard_and_what_one_broke_off_is_lost_alone(path: Path, tiny_audio: Model) -> None:
    with Reading(opened(path, tiny_audio)) as reading:
        for number in range(5):
            before = len(reading.blocks)
            write(path, bytes(1000) + b"\1")
            reading.until(lambda so_far, before=before: any(b.lost for b in so_far.blocks[before:]))
            assert reading.heard == 500 * (number + 1)
        assert reading.lost == 5
        assert reading.reasons == [f"pipe:{path}: its writer is gone, ended in the middle of a sample"]
        assert not reading.rows.any()  # no half sample shifted the next writer's


def test_a_writer_that_is_killed_is_told_of_at_once_and_the_next_is_heard(path: Path, tiny_sensor: Model) -> None:
    code = f"import sys, time\nwith open({str(path)!r}, 'wb', 0) as f:\n f.write({ROW!r} * 3 + b'1,2')\n time.sleep(60)"
    with Reading(opened(path, tiny_sensor)) as reading:
        writer = subprocess.Popen([sys.executable, "-c", code])
        reading.until(lambda so_far: so_far.heard == 3)
        killed_s = time.monotonic()
        writer.kill()
        writer.wait()
        reading.until(lambda so_far: so_far.lost == 1)
        assert reading.times_s[-1] - killed_s < PROMPT_S
        write(path, ROW)
        reading.until(lambda so_far: so_far.heard == 4)
    np.testing.assert_array_equal(reading.rows, [[1, 2, 3, 4, 5, 6]] * 4)
    assert reading.lost == 1


def test_the_next_writer_may_have_columns_of_his_own(path: Path, tiny_sensor: Model) -> None:
    with Reading(opened(path, tiny_sensor)) as reading:
        write(path, b"gyro_z,gyro_y,gyro_x,acc_z,acc_y,acc_x\n6,5,4,3,2,1\n")
        reading.until(lambda so_far: len(so_far.blocks) == 2)
        write(path, ROW)
        reading.until(lambda so_far: so_far.heard == 2)
    np.testing.assert_array_equal(reading.rows, [[1, 2, 3, 4, 5, 6]] * 2)
    assert reading.lost == 0


def test_a_writer_that_falls_silent_is_told_of_once_and_loses_nothing(path: Path, tiny_sensor: Model) -> None:
    with Reading(opened(path, tiny_sensor)) as reading, path.open("wb", buffering=0) as fifo:
        fifo.write(ROW)
        reading.until(lambda so_far: len(so_far.blocks) == 2)
        assert reading.reasons == [f"pipe:{path}: stalled"]
        assert 1 < reading.times_s[1] - reading.times_s[0] < PROMPT_S
        fifo.write(ROW)
        reading.until(lambda so_far: so_far.heard == 2)
    assert reading.lost == 0


def test_one_that_is_removed_and_made_anew_is_found_again(path: Path, tiny_sensor: Model) -> None:
    with Reading(opened(path, tiny_sensor)) as reading:
        write(path, ROW)
        reading.until(lambda so_far: so_far.heard == 1)
        path.unlink()
        reading.until(lambda so_far: any("was removed" in reason or "No such" in reason for reason in so_far.reasons))
        os.mkfifo(path)
        write(path, ROW)
        reading.until(lambda so_far: so_far.heard == 2)


def test_one_that_is_missing_is_waited_for_only_where_that_is_wanted(tmp_path: Path, tiny_sensor: Model) -> None:
    path = tmp_path / "fifo"
    with pytest.raises(SourceError, match="make it with mkfifo"):
        opened(path, tiny_sensor)
    with Reading(opened(path, tiny_sensor, waits=True)) as reading:
        os.mkfifo(path)
        write(path, ROW)
        reading.until(lambda so_far: so_far.heard == 1)


def test_a_file_is_no_fifo(tmp_path: Path, tiny_sensor: Model) -> None:
    (tmp_path / "rows.csv").write_bytes(ROW)
    with pytest.raises(SourceError, match="is no FIFO"):
        opened(tmp_path / "rows.csv", tiny_sensor)
