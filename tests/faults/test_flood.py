"""Messages that never end: whoever sends them is hung up on, before memory is all his; nobody else notices."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import zmq

from otolith.wire.keys import SECRET, allow, make_keys, read_pair, read_public
from tests.faults.flood import Flood, endless, whole
from tests.faults.house import House, free_port, wait_for

GROWTH_BYTES = 400_000_000  # what the unit leaves us: the bound, and what comes until a busy machine notices
HUNG_UP = 3  # times, before it is enough


@pytest.mark.parametrize("by", ["tcp", "ipc"])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_blocks_that_never_end_cost_no_other_stream_a_sample(tmp_path: Path, by: str, size: int, is_full: bool) -> None:
    with House(tmp_path, ports=(free_port(), free_port()) if by == "tcp" else ()) as house:
        flood(house, Flood(house.ingest.removeprefix("zmq+"), b"DEALER", endless(size)), is_full)
        wait_for(lambda: house.status.refused.get("endless", 0) >= HUNG_UP)


def test_with_workers_it_is_their_daemon_that_hangs_up(tmp_path: Path, is_full: bool) -> None:
    with House(tmp_path, top="workers = 2") as house:
        flood(house, Flood(house.ingest.removeprefix("zmq+"), b"DEALER", endless(1000)), is_full)


@pytest.mark.parametrize("by", ["tcp", "ipc"])
def test_subscriptions_that_never_end_cost_no_subscriber_a_message(tmp_path: Path, by: str, is_full: bool) -> None:
    with House(tmp_path, ports=(free_port(), free_port()) if by == "tcp" else ()) as house:
        flood(house, Flood(house.endpoint, b"SUB", endless(1)), is_full)


@pytest.mark.parametrize("by", ["tcp", "ipc"])
@pytest.mark.parametrize("content", ["subscriptions", "none"])
def test_words_without_an_end_keep_the_publisher_from_nothing(
    tmp_path: Path, by: str, content: str, is_full: bool
) -> None:
    starts = [b"\x01%06d" % number for number in range(100_000)]
    words = b"".join(map(whole, starts)) if content == "subscriptions" else whole(b"a word") * 100_000
    with House(tmp_path, ports=(free_port(), free_port()) if by == "tcp" else ()) as house:
        flood(house, Flood(house.endpoint, b"SUB", words), is_full, hung_up=0, least_s=2)


def test_who_is_allowed_by_his_key_has_no_more_memory_than_others(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys", "daemon")
    pair = read_pair(make_keys(tmp_path, "client").with_suffix(SECRET))
    allow(tmp_path / "keys", tmp_path / "client.key")
    with House(tmp_path, (), ports=(free_port(), free_port()), top=f'keys = "{tmp_path}/keys"') as house:
        before, public = house.memory, read_public(tmp_path / "keys" / "daemon.key")
        with zmq.Context() as context, context.socket(zmq.DEALER) as client:
            client.curve_publickey, client.curve_secretkey = pair.public, pair.secret
            client.curve_serverkey, client.linger = public, 0
            client.connect(house.ingest.removeprefix("zmq+"))
            client.send_multipart([bytes(1 << 19)] * 800, copy=False)
            wait_for(lambda: house.status.refused.get("endless", 0) > 0)
        assert house.memory - before < GROWTH_BYTES


def flood(house: House, flood: Flood, is_full: bool, hung_up: int = HUNG_UP, least_s: float = 0) -> None:
    """For so long, and until it was hung up on so often; then everybody else must have lost nothing."""
    before = peak = house.memory
    until_s = time.monotonic() + (30 if is_full else least_s)
    with flood:

        def is_enough() -> bool:
            nonlocal peak
            peak = max(peak, house.memory)
            return flood.hung_up >= hung_up and time.monotonic() > until_s

        wait_for(is_enough, lambda: f"{flood.sent} bytes, {house.memory - before} more", timeout_s=90)
    house.wait_until_told()
    verdicts = house.settle()
    print(f"{flood.sent / 1e6:.0f} MB, hung up on {flood.hung_up} times, at most {(peak - before) / 1e6:.0f} MB more")
    assert peak - before < GROWTH_BYTES
    assert all(verdict.lost == verdict.untold == verdict.twice == 0 for verdict in verdicts.values()), verdicts
