"""A serial line, over real pseudo-terminals: it drops and comes back, and every row is heard or declared."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from otolith.errors import SourceError, UsageError
from otolith.inference.model import Model
from otolith.sources import returning
from otolith.sources.open import open_source
from otolith.sources.reading.rows import BROKEN, MISSING, NOT_A_NUMBER, TOO_LONG, WIDTH
from otolith.sources.reading.timeline import LATE_ROWS, MISSING_ROWS
from otolith.sources.source import Source, Spec
from tests.sources.board import Board
from tests.sources.live import PROMPT_S, Reading

pytest.importorskip("serial", reason="needs pyserial: pip install 'otolith[serial]'")

VALUES = "1,2,3,4,5,6"
STAMPED = "t,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(returning, "LONGEST_WAIT_S", 0.2)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path / "board")


def opened(board: Board, model: Model, options: str = "", *, waits: bool = False) -> Source:
    return open_source(Spec.parse(f"serial:{board.path}{options}"), model.card, waits=waits)


def test_rows_come_as_csv_or_json_behind_a_line_that_was_broken_off(board: Board, tiny_sensor: Model) -> None:
    with Reading(opened(board, tiny_sensor)) as reading:
        board.send(f"5,6\r\n{VALUES}\r\n[1, 2, 3, 4, 5, 6]\n")
        board.send('{"gyro_z": 6, "acc_x": 1, "acc_y": 2, "acc_z": 3, "gyro_x": 4, "gyro_y": 5, "n": "a"}\n')
        reading.until(lambda so_far: so_far.heard == 3)
    np.testing.assert_array_equal(reading.rows, [[1, 2, 3, 4, 5, 6]] * 3)
    assert (reading.lost, reading.reasons) == (1, [BROKEN])


def test_a_first_line_that_shows_itself_whole_is_taken(board: Board, tiny_sensor: Model) -> None:
    with Reading(opened(board, tiny_sensor)) as reading:
        board.send(f"{STAMPED}0,{VALUES}\n")
        reading.until(lambda so_far: so_far.heard == 1)
    assert reading.lost == 0


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"\xff\x00\xfe\n", WIDTH),
        (b"1,2,x,4,5,6\n", NOT_A_NUMBER),
        (b"1,2,nan,4,5,6\n", NOT_A_NUMBER),
        (b'{"acc_x": 1}\n', MISSING),
        (b"[1,2,3,4,5,6,7]\n", WIDTH),
        (b"9" * 70_000 + b"\n", TOO_LONG),
    ],
)
def test_a_line_that_is_no_row_is_one_row_lost(board: Board, tiny_sensor: Model, bad: bytes, why: str) -> None:
    with Reading(opened(board, tiny_sensor)) as reading:
        board.send(f"\n{VALUES}\n".encode() + bad + f"{VALUES}\n".encode())
        reading.until(lambda so_far: so_far.heard == 2)
    assert (reading.lost, reading.reasons) == (1, [why])


def test_a_line_that_drops_is_told_of_and_opened_again_for_ever(board: Board, tiny_sensor: Model) -> None:
    with Reading(opened(board, tiny_sensor)) as reading:
        for _ in range(4):
            board.send_until_heard(reading, f"\n{VALUES}\n")
            told, unplugged_s = len(reading.blocks), time.monotonic()
            board.unplug()
            reading.until(lambda so_far, told=told: any("dropped" in b.reason for b in so_far.blocks[told:]))
            assert reading.times_s[-1] - unplugged_s < PROMPT_S
            reading.until(lambda so_far, told=told: any("no such port" in b.reason for b in so_far.blocks[told:]))
            board.plug_in()
        board.send_until_heard(reading, f"\n{VALUES}\n")
        passed = 100 * (time.monotonic() - reading.times_s[0])
    assert 0.5 * passed < reading.lost <= passed + 50  # by time and rate: nothing else tells


def test_where_rows_have_times_those_tell_what_passed_while_it_was_away(board: Board, tiny_sensor: Model) -> None:
    numbers = count()

    def rows() -> str:
        return "".join(f"{next(numbers) / 100},{VALUES}\n" for _ in range(20))

    with Reading(opened(board, tiny_sensor)) as reading:
        board.send(STAMPED + rows())
        reading.until(lambda so_far: so_far.heard == 20)
        board.unplug()
        reading.until(lambda so_far: any("dropped" in reason for reason in so_far.reasons))
        board.plug_in()
        board.send_until_heard(reading, rows)
        sent = next(numbers)
        reading.until(lambda so_far: so_far.heard + so_far.lost == sent)
    assert reading.lost > 0


def test_holes_doubles_and_rows_out_of_order_are_declared(board: Board, tiny_sensor: Model) -> None:
    numbers = [*range(20), 25, 26, 26, 27, 24, 28]
    with Reading(opened(board, tiny_sensor)) as reading:
        board.send(STAMPED + "".join(f"{n / 100},{VALUES}\n" for n in numbers))
        reading.until(lambda so_far: so_far.heard == 24)
    assert reading.lost == 5 + 1  # 20 to 24 are missing, 26 came twice; 24 came late and was told as missing
    assert reading.reasons == [MISSING_ROWS, LATE_ROWS]


def test_a_silent_board_is_stalled_and_stays_open(board: Board, tiny_sensor: Model) -> None:
    with Reading(opened(board, tiny_sensor)) as reading:
        board.send(f"\n{VALUES}\n")
        reading.until(lambda so_far: bool(so_far.reasons))
        assert reading.reasons == [f"serial:{board.path}: stalled"]
        assert reading.times_s[-1] - reading.times_s[0] < PROMPT_S
        board.send(f"{VALUES}\n")
        reading.until(lambda so_far: so_far.heard == 2)
    assert 100 < reading.lost < 2000  # a second and a half of rows at 100 Hz, or more on a slow machine


def test_one_that_is_missing_is_waited_for_only_where_that_is_wanted(tmp_path: Path, tiny_sensor: Model) -> None:
    board = Board(tmp_path / "board")
    board.unplug()
    with pytest.raises(SourceError, match="there is no such port; is it plugged in"):
        opened(board, tiny_sensor)
    with Reading(opened(board, tiny_sensor, waits=True)) as reading:
        reading.until(lambda so_far: bool(so_far.blocks))
        board.plug_in()
        while not reading.heard:
            board.send(f"{VALUES}\n")
            time.sleep(0.1)


def test_lines_of_text_are_tokens(board: Board, tiny_token: Model) -> None:
    with Reading(opened(board, tiny_token)) as reading:
        board.send("a good film\n")
        reading.until(lambda so_far: so_far.heard == 3)
    assert [(block.samples.tolist(), block.ends) for block in reading.blocks] == [([1, 2, 4], True)]


def test_columns_may_be_named_where_no_header_comes(board: Board, tiny_sensor: Model) -> None:
    with Reading(opened(board, tiny_sensor, "?columns=gyro_z,t,acc_x,acc_y,acc_z,gyro_x,gyro_y")) as reading:
        board.send("\n6,0,1,2,3,4,5\n")
        reading.until(lambda so_far: so_far.heard == 1)
    np.testing.assert_array_equal(reading.rows, [[1, 2, 3, 4, 5, 6]])


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("serial:", "names no port"),
        ("serial:/dev/ttyUSB0?speed=9600", "unknown option speed"),
        ("serial:/dev/ttyUSB0?baud=fast", "baud is 'fast'; it must be from 50"),
        ("serial:/dev/ttyUSB0?columns=acc_x", "columns name no acc_y, acc_z"),
    ],
)
def test_a_spec_that_cannot_be_meant_is_refused(tiny_sensor: Model, spec: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        open_source(Spec.parse(spec), tiny_sensor.card, waits=True)
