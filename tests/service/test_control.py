"""The control socket: answered to whoever may ask, whatever else comes to it."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otolith.errors import OtolithError, SettingsError, WireError
from otolith.service import control as control_file
from otolith.service.control import Control, open_control
from otolith.wire.control import LINE_BYTES, Answer, Request, ask


def answer(request: Request) -> Answer:
    if request.command == "reload":
        raise SettingsError("otolith.toml: is not TOML")
    return Answer(changes=["heard"])


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    control = Control(tmp_path / "control.sock", answer)
    control.start()
    yield control
    control.close()


def raw(path: Path, sent: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(5)
        line.connect(str(path))
        line.sendall(sent)
        line.shutdown(socket.SHUT_WR)
        return line.recv(1 << 16)


def test_a_request_is_answered_and_a_refusal_says_why(control: Control) -> None:
    assert ask(control.path, Request("status")).changes == ["heard"]
    with pytest.raises(OtolithError, match=r"control\.sock: otolith\.toml: is not TOML"):
        ask(control.path, Request("reload"))


@pytest.mark.parametrize("nonsense", [b"\n", b"{}\n", b'{"command":"dance"}\n', b"\xff\xfe\n", b"[" * 5000 + b"\n"])
def test_nonsense_is_told_to_be_that(control: Control, nonsense: bytes) -> None:
    assert b"not a request" in raw(control.path, nonsense)
    assert ask(control.path, Request("status")).changes == ["heard"]


@pytest.mark.parametrize("broken", [b'{"command": "\xff"}\n', b"[" * 60_000 + b"\n", b'{"a":' * 10_000 + b"\n"])
def test_what_is_no_request_is_answered_so(control: Control, broken: bytes) -> None:
    assert b"not a request" in raw(control.path, broken)
    assert ask(control.path, Request("status")).changes == ["heard"]


@pytest.mark.parametrize("broken", [b"", b'{"command"', b"x" * (2 * LINE_BYTES)])
def test_a_line_that_never_ends_or_is_too_long_is_let_go(
    control: Control, broken: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        assert raw(control.path, broken) == b""
    assert ask(control.path, Request("status")).changes == ["heard"]
    assert not caplog.records, "who only looks whether somebody is there is not logged"


def test_who_connects_and_says_nothing_holds_up_the_next_for_a_second_at_most(control: Control) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as mute:
        mute.connect(str(control.path))
        began_s = time.monotonic()
        assert ask(control.path, Request("status")).changes == ["heard"]
        assert time.monotonic() - began_s < 3


def test_another_user_is_not_answered(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_file, "_is_trusted", lambda _line: False)
    with pytest.raises(WireError, match="no daemon answers there"):
        ask(control.path, Request("status"))


def test_the_socket_is_for_its_owner_and_group_and_goes_with_the_daemon(tmp_path: Path) -> None:
    control = Control(tmp_path / "control.sock", answer)
    assert stat.S_IMODE(control.path.stat().st_mode) == 0o660
    control.start()
    control.close()
    assert not control.path.exists()


def test_what_a_killed_daemon_left_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(tmp_path / "daemon-1.sock"))
    control = open_control(True, answer)
    assert control is not None
    control.close()
    assert list(tmp_path.iterdir()) == []
    assert control.path.name == f"daemon-{os.getpid()}.sock"


def test_where_it_is_not_wanted_there_is_none() -> None:
    assert open_control(False, answer) is None
