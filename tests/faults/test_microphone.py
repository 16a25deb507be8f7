"""A microphone on a real sound server, which is stopped and goes on; or its daemon is. Every sample's time is told of.

A microphone counts no samples: what was predicted and what was declared lost last as long together as the clock says.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Self

import pytest

from otolith.wire.messages import AnyMessage, GapMessage, PosteriorsMessage, StatusMessage
from tests.faults.house import wait_for
from tests.faults.oracle import HOP, Witness
from tests.processes import DaemonProcess
from tests.sources.pulse import PulseServer, missing_parts

missing = missing_parts()
pytestmark = pytest.mark.skipif(missing is not None, reason=missing or "")

RATE = 16000
CLOSE_S = 0.25  # what a few blocks on their way, and a frame, come to


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[PulseServer]:
    server = PulseServer(tmp_path)
    yield server
    server.kill()


class Account:
    """What a witness was told of the one stream there is, against the clock."""

    def __init__(self, witness: Witness) -> None:
        self._messages = witness.messages
        self._began = self._told

    @property
    def _told(self) -> tuple[float, float]:
        """Until when, and how many seconds of sound, predicted or lost."""
        told = [m for m in list(self._messages) if isinstance(m, PosteriorsMessage | GapMessage)]
        samples = sum(m.frames * HOP if isinstance(m, PosteriorsMessage) else m.lost for m in told)
        return told[-1].time_ns / 1e9, samples / RATE

    @property
    def too_little_s(self) -> float:
        """How much more passed, since this was made, than was told of."""
        (until_s, told_s), (since_s, before_s) = self._told, self._began
        return until_s - since_s - (told_s - before_s)


class Supervisor:
    """Starts the daemon again a second after it ended, as systemd would; `ends` are its exit codes and last words."""

    def __init__(self, config: Path, environment: dict[str, str]) -> None:
        self.ends: list[tuple[int, str]] = []
        self._config, self._environment = config, environment
        self._stop = Event()
        self._thread = Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            with DaemonProcess(str(self._config), **self._environment) as daemon:
                while daemon.process.poll() is None and not self._stop.wait(0.05):
                    pass
                if daemon.process.poll() is not None:
                    code, said = daemon.wait()
                    self.ends.append((code, said.splitlines()[-1]))
            self._stop.wait(1.0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def write_settings(folder: Path, endpoint: str, model: Path, rate: int = 0) -> Path:
    config = folder / "otolith.toml"
    config.write_text(
        f'publish = "{endpoint}"\ncontrol = false\n[state]\nfolder = "state"\n'
        f'[[stream]]\nname = "mic"\nmodel = "{model}"\nsource = "microphone:pulse?rate={rate or RATE}"\n'
        "posteriors_per_s = 50\n"
    )
    return config


def predicted(witness: Witness, since_ns: int = 0) -> int:
    return sum(isinstance(m, PosteriorsMessage) and m.time_ns > since_ns for m in list(witness.messages))


def lost_s(messages: list[AnyMessage]) -> dict[str, float]:
    """Seconds lost, by reason."""
    lost: dict[str, float] = {}
    for message in messages:
        if isinstance(message, GapMessage):
            lost[message.reason] = lost.get(message.reason, 0.0) + message.lost / RATE
    return lost


def test_what_overran_while_the_daemon_stood_still_is_counted(
    pulse: PulseServer, tmp_path: Path, tiny_audio_file: Path, endpoint: str, is_full: bool
) -> None:
    """The server holds some megabytes, and drops the rest without a word; at this rate that is soon."""
    config = write_settings(tmp_path, endpoint, tiny_audio_file, rate=384_000)
    with Witness(endpoint) as witness, DaemonProcess(str(config), **pulse.environment) as daemon:
        wait_for(lambda: predicted(witness) > 4 * 50)
        account = Account(witness)
        for stopped_s in (1, 3, 9, 20, 9, 9) if is_full else (9,):
            since = len(witness.messages)
            daemon.process.send_signal(signal.SIGSTOP)
            time.sleep(stopped_s)
            daemon.process.send_signal(signal.SIGCONT)
            time.sleep(5)
            lost = lost_s(witness.messages[since:])
            print(f"stopped for {stopped_s} s: {account.too_little_s:.4f} s too little, lost {lost}")
            assert abs(account.too_little_s) < CLOSE_S
            assert ("microphone overflow" in lost) == (stopped_s >= 9)
        assert witness.missed == 0


def test_a_frozen_sound_server_is_told_of_and_heard_again_once_it_goes_on(
    pulse: PulseServer, tmp_path: Path, tiny_audio_file: Path, endpoint: str, is_full: bool
) -> None:
    """Within a few seconds by the same daemon; later by another, for nobody can let go what hangs but its end."""
    config = write_settings(tmp_path, endpoint, tiny_audio_file)
    with Witness(endpoint) as witness, Supervisor(config, pulse.environment) as supervisor:
        for frozen_s in (3.0, 60.0, 60.0) if is_full else (12.0,):
            wait_for(lambda: predicted(witness, time.time_ns() - 10**9) > 0)
            time.sleep(4)
            account, ends, since = Account(witness), len(supervisor.ends), len(witness.messages)
            pulse.freeze()
            frozen_at_s = time.monotonic()
            stalled_s = wait_for(lambda since=since: is_stalled(witness.messages[since:]))
            told = [f"stalled within {stalled_s:.1f} s"]
            if frozen_s > 10:
                wait_for(lambda ends=ends: len(supervisor.ends) > ends)
                told.append(f"ended within {time.monotonic() - frozen_at_s:.1f} s")
            time.sleep(max(0.0, frozen_at_s + frozen_s - time.monotonic()))
            pulse.thaw()
            thawed_ns = time.time_ns()
            heard_s = wait_for(lambda thawed_ns=thawed_ns: predicted(witness, thawed_ns) > 0)
            time.sleep(4)
            print(f"frozen for {frozen_s} s:", *told, f"heard within {heard_s:.1f} s of its return", sep="; ")
            print(*supervisor.ends[ends:], f"{account.too_little_s:.3f} s too little", lost_s(witness.messages[since:]))
            assert all(code == 1 and "cannot be let go" in said for code, said in supervisor.ends[ends:])
            assert abs(account.too_little_s) < CLOSE_S


def is_stalled(messages: list[AnyMessage]) -> bool:
    return any(isinstance(message, StatusMessage) and "stalled" in message.state for message in messages)
