"""A daemon that its machine gives too little: processor time or memory, as a unit's limits would."""

from __future__ import annotations

import time
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.control_group import memory_limit, processor_share
from tests.faults.feeds import ProducerFeed
from tests.faults.house import House, wait_for

STREAMS = [f"room-{number}" for number in range(30)]  # of words.onnx, which a tenth does not suffice for
ROOM = 2 << 20
STATE = '[state]\nfolder = "state"\nperiod_s = 0.5\n'


def test_with_a_tenth_of_a_processor_all_is_predicted_or_declared(tmp_path: Path, is_full: bool) -> None:
    with House(tmp_path, STREAMS, model=ROOT / "exported_models" / "words.onnx") as house:
        began_s, lasts_s = time.monotonic(), 60 if is_full else 3
        with processor_share(house.daemon.process.pid, 0.1) as stat:
            time.sleep(lasts_s)
            told = stat.read_text().split()
        recovered_s = house.wait_until_told()
        verdicts = house.settle()
        figures = dict(zip(told[::2], map(int, told[1::2]), strict=True))
        lost_s = sum(verdict.lost for verdict in verdicts.values()) / 16000
        print(
            f"held back in {figures['nr_throttled']} of {figures['nr_periods']} periods; {lost_s:.1f} s lost of "
            f"{len(STREAMS) * (time.monotonic() - began_s):.0f}; well again within {recovered_s:.1f} s"
        )
        assert figures["nr_throttled"] > 0
        assert all(verdict.untold == verdict.twice == 0 for verdict in verdicts.values())


def test_ended_by_the_kernel_for_want_of_memory_it_goes_on_when_it_is_started_again(tmp_path: Path) -> None:
    with House(tmp_path, ("one", "two"), top=STATE) as house:
        house.wait_until_kept()
        process = house.daemon.process
        with memory_limit(process.pid, ROOM):
            guests = [ProducerFeed(house.ingest, f"guest-{number}", house.pcm) for number in range(90)]
            try:
                for guest in guests:
                    guest.start()
                wait_for(lambda: process.poll() is not None)
            finally:
                for guest in guests:
                    guest.close()
        assert process.returncode == -9
        house.start()
        house.wait_until_told()
        assert all(verdict.untold == 0 for verdict in house.settle().values())
