"""Faults of the daemon's process: ended, killed, hung, short of what it needs."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import zmq

from otolith.service.loop import MANY
from otolith.wire.control import Request, exchange
from otolith.wire.line import worker_of
from otolith.wire.messages import AnyMessage, PosteriorsMessage
from tests.faults.house import PATIENCE_S, House, free_port, wait_for
from tests.faults.kinds import KINDS
from tests.processes import children_of
from tests.tiny import write_tiny

PTRACE_ATTACH, PTRACE_DETACH, WALL = 16, 17, 0x40000000


def test_a_daemon_told_to_end_first_tells_of_all_it_has_taken(tmp_path: Path, is_full: bool) -> None:
    with House(tmp_path) as house:
        for feed in house.feeds.values():
            feed.pause()
        time.sleep(0.2)  # what was sent has arrived
        lasted_s = house.daemon.stop()
        print(f"it ended within {lasted_s:.2f} s")
        assert lasted_s < (2 if is_full else 10)
        assert house.daemon.process.returncode == 0
        wait_for(lambda: all(house.judge(feed).left == 0 for feed in house.feeds.values()))


def test_a_daemon_that_was_stopped_for_long_declares_what_it_slept_through(house: House, is_full: bool) -> None:
    """So long that it is more than producers, sockets and the daemon hold between them."""
    stopped_s = 30 if is_full else 10
    house.daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(stopped_s)
    house.daemon.process.send_signal(signal.SIGCONT)
    recovered_s = house.wait_until_told()
    verdicts = house.settle()
    print(f"well again within {recovered_s:.1f} s", verdicts)
    assert all(verdict.untold == verdict.twice == 0 for verdict in verdicts.values())
    assert all(0 < verdict.lost < (stopped_s + PATIENCE_S) * 16000 for verdict in verdicts.values())


def test_a_model_that_is_swapped_under_load_makes_no_hole(house: House) -> None:
    """And hardly a pause: by how much a message came later than is usual is printed (`bench/swap.py` tells more)."""
    before, since = house.settle(), len(house.messages)
    KINDS["good_reload"](house, random.Random(0))
    house.wait_until_told()
    until, after = len(house.messages), house.settle()
    assert [verdict.lost for verdict in after.values()] == [verdict.lost for verdict in before.values()]
    mine = {name: [n for n in range(since, until) if is_posteriors_of(house.messages[n], name)] for name in house.feeds}
    delays_ms = {name: 1000 * np.array([house.delay_s(n) for n in those]) for name, those in mine.items()}
    pauses = [delay_ms.max() - np.median(delay_ms) for delay_ms in delays_ms.values()]
    print(f"while a model was swapped, a message came {max(pauses):.0f} ms later than is usual at most")
    assert all(len({house.messages[n].model for n in those}) == 2 for those in mine.values())


def test_more_streams_than_change_at_a_time_all_change_and_lose_nothing(tmp_path: Path) -> None:
    with House(tmp_path, [f"room-{number}" for number in range(2 * MANY + 1)]) as house:
        before = house.settle()
        KINDS["good_reload"](house, random.Random(0))
        house.wait_until_told()
        after = house.settle()
    assert [verdict.lost for verdict in after.values()] == [verdict.lost for verdict in before.values()]
    assert all(verdict.untold == 0 for verdict in after.values())


def is_posteriors_of(message: AnyMessage, stream: str) -> bool:
    return isinstance(message, PosteriorsMessage) and message.stream == stream


def test_the_streams_of_a_worker_that_died_come_back_and_what_was_lost_is_told(tmp_path: Path) -> None:
    names = [f"room-{number}" for number in range(4)]
    with House(tmp_path, names, top="workers = 2") as house:
        before = house.settle()
        victim, witness = children_of(house.daemon.process.pid)
        os.kill(victim, signal.SIGKILL)
        recovered_s = house.wait_until_told()
        after = house.settle()
        assert witness in children_of(house.daemon.process.pid)
        house.daemon.stop()
    disturbed = {name for name, verdict in after.items() if verdict.lost > before[name].lost}
    killed = {name for name in names if len({m.boot for m in house.messages_of(name)}) == 2}
    print(f"recovered in {recovered_s:.1f} s", after)
    assert disturbed == killed
    assert len({worker_of(name.encode(), 2) for name in killed}) == 1
    assert all(verdict.untold == verdict.twice == 0 for verdict in after.values())
    assert all("the worker died" in after[name].reasons for name in killed)
    assert house.witness.missed == 0


def test_while_the_loop_hangs_the_watchdog_is_not_fed(tmp_path: Path) -> None:
    """Its thread alone is stopped, by a debugger's means: all others run on, as where a runtime never returns."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        with House(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="3000000") as house:
            wait_for(lambda: is_fed(systemd))
            with one_thread_stopped(house.daemon.process.pid):
                is_fed(systemd)
                time.sleep(2.5)
                assert not is_fed(systemd)
            wait_for(lambda: is_fed(systemd))
            house.wait_until_told()
            assert all(verdict.untold == verdict.twice == 0 for verdict in house.settle().values())


def is_fed(systemd: socket.socket) -> bool:
    notes = []
    while True:
        try:
            notes.append(systemd.recv(4096))
        except BlockingIOError:
            return any(b"WATCHDOG=1" in note for note in notes)


@contextmanager
def one_thread_stopped(thread: int) -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, thread, None, None):
        pytest.skip(f"needs ptrace: {os.strerror(ctypes.get_errno())}")
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, thread, None, None)


def test_without_descriptors_left_it_goes_on_and_is_asked_again_later(tmp_path: Path) -> None:
    """ulimit -n, over TCP; on socket files libzmq 4.3.5 aborts there, which ends the daemon with its reason."""
    with House(tmp_path, ports=(free_port(), free_port())) as house:
        before = house.settle()
        process = psutil.Process(house.daemon.process.pid)
        process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds() + 3, process.num_fds() + 3))
        with ExitStack() as stack:
            join(stack, house.endpoint, 20)
            line = stack.enter_context(socket.socket(socket.AF_UNIX))
            line.connect(str(tmp_path / "control"))
            time.sleep(1)
        wait_for(lambda: exchange(tmp_path / "control", Request("status"), 10).status is not None)
        house.wait_until_told()
        after = house.settle()
    assert [v.lost for v in after.values()] == [v.lost for v in before.values()]
    assert all(verdict.untold == 0 for verdict in after.values())


def test_a_thousand_subscribers_join_within_ten_seconds_and_go_again(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # as the daemon's, when it starts
    with House(tmp_path) as house, ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        before, process = house.settle(), psutil.Process(house.daemon.process.pid)
        descriptors = process.num_fds()
        with ExitStack() as crowd:
            began_s = time.monotonic()
            ears = join(crowd, house.endpoint, 1000)
            for ear in ears:
                assert ear.poll(20_000)
            print(f"a thousand heard within {time.monotonic() - began_s:.1f} s")
            assert process.num_fds() >= descriptors + 1000
        wait_for(lambda: process.num_fds() <= descriptors + 2)
        house.wait_until_told()
        after = house.settle()
    assert [v.lost for v in after.values()] == [v.lost for v in before.values()]


def join(stack: ExitStack, endpoint: str, count: int) -> list[zmq.Socket[bytes]]:
    context = stack.enter_context(zmq.Context())
    context.set(zmq.MAX_SOCKETS, count + 10)
    ears = []
    for _ in range(count):
        ear = stack.enter_context(context.socket(zmq.SUB))
        ear.setsockopt(zmq.LINGER, 0)
        ear.subscribe("otolith/1/one/posteriors")
        ear.connect(endpoint)
        ears.append(ear)
    return ears


def test_where_its_log_cannot_be_written_it_goes_on(tmp_path: Path) -> None:
    with House(tmp_path, log="/dev/full") as house:
        assert "detector.maybe" in bad_reload(house)
        house.wait_until_told()
        assert all(verdict.lost == verdict.untold == 0 for verdict in house.settle().values())
        house.daemon.stop()
        assert house.daemon.process.returncode == 0


def bad_reload(house: House) -> str:
    house.write_settings(tail="[route.detector.maybe]\nthreshold = 0.5\n")
    return exchange(house.folder / "control", Request("reload"), 60).error


def test_what_memory_does_not_suffice_for_is_refused_and_all_else_goes_on(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        before, process = house.settle(), psutil.Process(house.daemon.process.pid)
        process.rlimit(resource.RLIMIT_AS, (process.memory_info().vms + 1_000_000, resource.RLIM_INFINITY))
        write_tiny(tmp_path / "model.onnx", "audio", seed=1)
        answer = exchange(tmp_path / "control", Request("reload"), 60)
        print("reload:", answer.error)
        assert answer.error
        process.rlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert not exchange(tmp_path / "control", Request("reload"), 60).error
        house.wait_until_told()
        after = house.settle()
    assert [v.lost for v in after.values()] == [v.lost for v in before.values()]
