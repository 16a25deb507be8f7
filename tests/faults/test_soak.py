"""The soak, in small: what `make soak` does for as long as one likes."""

from __future__ import annotations

from pathlib import Path

from tests.faults.soak import at_full_batch, in_real_time


def test_a_daemon_neither_grows_nor_loses_nor_drifts(tmp_path: Path) -> None:
    live, batch = tmp_path / "live", tmp_path / "batch"
    live.mkdir()
    batch.mkdir()
    heard = in_real_time(live, streams=8, seconds=5)
    assert heard["stream_s"] > 8 * 5
    assert at_full_batch(batch, hours=0.1)["times_real"] > 1
