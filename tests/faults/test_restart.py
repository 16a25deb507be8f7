"""A daemon that is killed or stopped, and started again, with its streams' state in a folder."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil
import pytest

from otolith.sources.network.returns import RESTARTED
from otolith.wire.line import worker_of
from otolith.wire.messages import StatusMessage
from tests.faults.feeds import ProducerFeed
from tests.faults.house import House, wait_for
from tests.processes import children_of, is_alive

PERIOD_S = 0.5
TOLD_TWICE = round((PERIOD_S + 1.5) * 16000)  # by a kill, of one stream: a checkpoint's age, on a busy machine
STATE = f'[state]\nfolder = "state"\nperiod_s = {PERIOD_S}\n'


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path, top=STATE) as house:
        house.wait_until_kept()
        yield house


def test_killed_again_and_again_it_declares_all_that_no_run_could_tell(keeping: House, is_full: bool) -> None:
    kills, recovered_s = 50 if is_full else 2, []
    for _ in range(kills):
        keeping.wait_until_kept()
        recovered_s.append(kill_and_start(keeping))
    check_kills(keeping, recovered_s)


def test_killed_with_its_workers_again_and_again_it_declares_all_that_no_run_could_tell(
    tmp_path: Path, is_full: bool
) -> None:
    """Every other time in the instant in which one of them has kept its streams' state."""
    with House(tmp_path, ("one", "two", "four"), top=f"workers = 2\n{STATE}") as house:
        assert {worker_of(name.encode(), 2) for name in house.feeds} == {0, 1}
        kills, recovered_s = 20 if is_full else 3, []
        for kill in range(kills):
            house.wait_until_kept(workers=2)
            if kill % 2:
                time.sleep(PERIOD_S * kill / kills)
            recovered_s.append(kill_and_start(house))
        check_kills(house, recovered_s)


def kill_and_start(house: House) -> float:
    """How long it took until everything was predicted again, in seconds."""
    workers = children_of(house.daemon.process.pid)
    house.daemon.process.kill()
    house.daemon.process.wait()
    began_s = time.monotonic()
    wait_for(lambda: not any(map(is_alive, workers)))
    house.start()
    house.wait_until_told()
    return time.monotonic() - began_s


def check_kills(house: House, recovered_s: list[float]) -> None:
    verdicts, kills = house.settle(), len(recovered_s)
    told = {name: f"untold {verdict.untold}, twice {verdict.twice}" for name, verdict in verdicts.items()}
    print(f"{kills} kills, back in {median(recovered_s):.2f} s (median), {max(recovered_s):.2f} s at most; {told}")
    assert len({message.boot for message in house.messages_of("one")}) == kills + 1
    for verdict in verdicts.values():
        assert verdict.untold == 0
        assert verdict.twice < kills * TOLD_TWICE


def test_over_a_clean_restart_nothing_is_told_twice_and_nothing_is_untold(keeping: House) -> None:
    keeping.daemon.stop(signal.SIGTERM)
    keeping.start()
    keeping.wait_until_told()
    assert all(verdict.untold == verdict.twice == 0 for verdict in keeping.settle().values())


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_soon_after_streams_began_it_declares_them_from_their_beginning(
    workers: int, tmp_path: Path, is_full: bool
) -> None:
    """The last checkpoint is older than they are: nothing is known of them but what they say."""
    top = f'workers = {workers}\n[state]\nfolder = "state"\nperiod_s = 10\n'
    with House(tmp_path, (), top=top) as house:
        for birth in range(10 if is_full else 2):
            house.add(ProducerFeed(house.ingest, f"young-{birth}", house.pcm))
            house.daemon.process.kill()
            house.daemon.process.wait()
            house.start()
            house.wait_until_told()
            verdicts = house.settle()
            assert all(verdict.untold == 0 < verdict.lost for verdict in verdicts.values())
        print({name: (verdict.untold, verdict.twice) for name, verdict in verdicts.items()})


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_stream_that_fell_silent_before_a_restart_and_is_back_behind_it_tells_what_it_lost(
    how: signal.Signals, tmp_path: Path
) -> None:
    with House(tmp_path, (), top=STATE, silence_s=0.5) as house:
        feed = ProducerFeed(house.ingest, "one", house.pcm)
        house.add(feed)
        feed.pause()
        wait_for(lambda: not house.status.streams)
        feed.lose(16000)
        house.wait_until_kept()
        house.daemon.stop(how)
        house.start()
        feed.resume()
        house.wait_until_told()
        verdict = house.settle()["one"]
    assert (verdict.untold, verdict.twice, verdict.reasons[RESTARTED]) == (0, 0, 16000)


def is_degraded(house: House) -> bool:
    statuses = [message for message in house.messages if isinstance(message, StatusMessage)]
    return bool(statuses) and "state" in (statuses[-1].degraded or "")


@contextmanager
def no_room(house: House) -> Iterator[None]:
    """As of a full disk: no file may grow."""
    process = psutil.Process(house.daemon.process.pid)
    process.rlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    yield
    process.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def no_folder(house: House) -> Iterator[None]:
    """The folder is gone, and something else is in its place."""
    shutil.rmtree(house.folder / "state")
    (house.folder / "state").write_text("a file")
    yield
    (house.folder / "state").unlink()
    (house.folder / "state").mkdir()


@contextmanager
def no_way_to_write(house: House) -> Iterator[None]:
    """A file there cannot be opened for writing, whoever asks."""
    blocking = house.folder / "state" / "0.new"
    wait_for(lambda: made(blocking))
    yield
    shutil.rmtree(blocking)


def made(folder: Path) -> bool:
    try:
        (folder / "within").mkdir(parents=True)
    except OSError:
        return False
    return True


@contextmanager
def full_disk(house: House) -> Iterator[None]:
    """A real file system of 64 kB, full."""
    with mounted(house, "-o", "size=64k"):
        filler = house.folder / "state" / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}"], capture_output=True, check=False)
        yield


@contextmanager
def read_only(house: House) -> Iterator[None]:
    with mounted(house, "-o", "ro"):
        yield


@contextmanager
def mounted(house: House, *options: str) -> Iterator[None]:
    state = house.folder / "state"
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", state], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", state], check=True)


DISKS = [no_room, no_folder, no_way_to_write]
MOUNTED = [full_disk, read_only]  # where it is recorded: they want a root who may mount


@pytest.mark.parametrize("period_s", [PERIOD_S, 600])
def test_a_disk_that_fails_costs_no_prediction_and_is_told_until_it_heals(
    period_s: float, tmp_path: Path, is_full: bool
) -> None:
    """However far checkpoints are apart."""
    with House(tmp_path, top=f'[state]\nfolder = "state"\nperiod_s = {period_s}\n') as house:
        wait_for((tmp_path / "state" / "0.state").exists)
        before = house.settle()
        for disk in [*DISKS, *(MOUNTED if is_full else [])]:
            with disk(house):
                told_s = wait_for(lambda: is_degraded(house))
                assert "state" in house.status.degraded
                house.wait_until_told()
            healed_s = wait_for(lambda: not is_degraded(house))
            print(f"{disk.__name__}, every {period_s} s: told in {told_s:.2f} s, healed in {healed_s:.2f} s")
        after = house.settle()
    assert [v.lost for v in after.values()] == [v.lost for v in before.values()]
