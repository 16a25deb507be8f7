"""A recorder whose disk fails: predictions go on, it is told until it heals, and what there is is heard again the same.

Of each stream, what was recorded and the holes that segments tell of are all that was sent.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

from otolith.service.recording.replay import read_stretches
from otolith.sinks.shelves import segments, stream_of
from otolith.wire.line import worker_of
from otolith.wire.messages import StatusMessage
from tests.faults.disks import Disk, Volume, full_disk, no_folder, no_room, read_only
from tests.faults.house import House, wait_for
from tests.faults.oracle import HOP
from tests.processes import children_of, run_otolith

STATE = '[state]\nfolder = "disk/state"\nperiod_s = 0.5\n'
TAPES = '[recorder]\nfolder = "{folder}"\nsegment_s = 0.7\n'


def test_a_recorder_whose_disk_fails_costs_no_prediction_and_begins_again(tmp_path: Path, is_full: bool) -> None:
    tapes = tmp_path / "tapes"
    with House(tmp_path, top=TAPES.format(folder="tapes")) as house:
        wait_for(lambda: len(segments(tapes)) >= len(house.feeds))
        for disk in (no_room, no_folder):
            strike(house, disk, tapes, ["recorder"], is_full)
        end_with(house, tapes)


def test_a_disk_that_is_full_or_read_only_under_the_recorder_alone(tmp_path: Path, is_full: bool) -> None:
    tapes = tmp_path / "tapes"
    with House(tmp_path, top=TAPES.format(folder="tapes")) as house:
        wait_for(lambda: len(segments(tapes)) >= len(house.feeds))
        for disk in (full_disk, read_only):
            strike(house, disk, tapes, ["recorder"], is_full)
        end_with(house, tapes)


def test_a_real_disk_that_fails_under_state_and_recorder_costs_no_prediction(tmp_path: Path, is_full: bool) -> None:
    """ext4 on a loop device: full, hung, gone with an error of its own, read-only behind another."""
    tapes = tmp_path / "disk" / "tapes"
    with Volume(tmp_path / "disk") as disk, House(tmp_path, top=STATE + TAPES.format(folder="disk/tapes")) as house:
        wait_for((tmp_path / "disk" / "state" / "0.state").exists)
        for fault in (disk.full, disk.hung, disk.broken, disk.read_only):
            strike(house, fault, tmp_path / "disk", ["state", "recorder"], is_full)
        end_with(house, tapes)


def test_two_workers_record_each_stream_once(tmp_path: Path) -> None:
    """Be its name one that no folder may have: its folder is told apart by what is in it."""
    names = [*(f"room-{number}" for number in range(4)), "models"]
    with House(tmp_path, names, top="workers = 2\n" + TAPES.format(folder="tapes")) as house:
        assert {worker_of(name.encode(), 2) for name in names} == {0, 1}
        time.sleep(1.5)
        counts = end_with(house, tmp_path / "tapes")
    assert all(count > 1 for count in counts.values()), counts


def test_two_workers_share_the_quota_and_one_that_died_records_again(tmp_path: Path) -> None:
    names, tapes, most = [f"room-{number}" for number in range(4)], tmp_path / "tapes", 600_000
    top = f"workers = 2\n{TAPES.format(folder='tapes')}megabytes = {most / 1e6}\n"
    with House(tmp_path, names, top=top) as house:
        os.kill(children_of(house.daemon.process.pid)[0], signal.SIGKILL)
        house.wait_until_told()
        oldest = segments(tapes)[0].log
        wait_for(lambda: not oldest.exists())
        house.wait_until_told()
        house.daemon.stop()
    code, said, _ = run_otolith("replay", tapes, "--verify")
    assert code == 0, said
    taped: dict[int, int] = {}
    for each in segments(tapes):
        number = worker_of(stream_of(each).encode(), 2)
        taped[number] = taped.get(number, 0) + each.bytes
    assert len(taped) == 2
    assert max(taped.values()) <= most / 2, taped
    assert {stream_of(each) for each in segments(tapes)} == set(names)


def strike(house: House, disk: Disk, folder: Path, parts: list[str], is_full: bool) -> None:
    """The `parts` ail while the disk fails, at once and all the time, and then no more; no stream loses anything."""
    before = house.settle()
    with disk(house, folder):
        told_s = wait_for(lambda: all(map(set(parts).issubset, told(house).values())))
        since = len(house.messages)
        house.wait_until_told()
        time.sleep(10 if is_full else 1.5)
        statuses = [m for m in house.messages[since:] if isinstance(m, StatusMessage)]
        assert all(ailing(status) >= set(parts) for status in statuses), "it is not told all the time"
    healed_s = wait_for(lambda: not any(told(house).values()))
    house.wait_until_told()
    print(f"{disk.__name__}: {', '.join(parts)} told within {told_s:.1f} s, healed within {healed_s:.1f} s")
    after = house.settle()
    assert [v.lost for v in after.values()] == [v.lost for v in before.values()]


def told(house: House) -> dict[str, set[str]]:
    """What ails, by the last status of each stream."""
    last = {m.stream: ailing(m) for m in house.messages if isinstance(m, StatusMessage)}
    return {name: last.get(name, set()) for name in house.feeds}


def ailing(status: StatusMessage) -> set[str]:
    return set(re.findall(r"(?:^|; )(\w+): ", status.degraded))


def end_with(house: House, tapes: Path) -> Counter[str]:
    """Stop the daemon behind all that was sent, and hold the tapes against that; how many segments each stream has."""
    for feed in house.feeds.values():
        feed.pause()
    wait_for(lambda: all(house.judge(feed).left < HOP for feed in house.feeds.values()))
    house.daemon.stop()
    code, said, _ = run_otolith("replay", tapes, "--verify")
    assert code == 0, said
    print(said)
    counts: Counter[str] = Counter()
    for name, feed in house.feeds.items():
        taped = [segment for stretch in read_stretches(tapes, name) for segment in stretch.segments]
        heard = sum(block.count for segment in taped for block in segment.heard)
        lost = sum(block.lost for segment in taped for block in segment.heard)
        missed = sum(segment.opening.missed for segment in taped)
        assert heard
        assert heard + lost + missed == feed.sent.total, f"{name}: {heard} recorded, {lost} lost, {missed} missed"
        counts[name] = len(taped)
    return counts
