"""The soak: a daemon hears streams for long, and neither grows, nor loses, nor drifts.

    python -m tests.faults.soak [--minutes 1] [--streams 16] [--hours 0.25] [--out FILE]

First streams from the network in real time, for `--minutes`; then `--hours` of recordings, as many streams as fill a
batch, as fast as it goes. Both with a model that ships, and each judged by the oracle of the fault tests.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile
from numpy.typing import NDArray

from otolith import Model
from otolith.recordings import load_audio
from otolith.wire.messages import PosteriorsMessage
from tests.conftest import ROOT, SOUND
from tests.faults.house import House, wait_for
from tests.faults.oracle import RATE, Sent, Witness, judge
from tests.processes import DaemonProcess

WORDS = ROOT / "exported_models" / "words.onnx"
EXACT = 1e-5
GROWTH_BYTES = 2_000_000  # of resident memory behind the first tenth
LOOK_S, LONG_S = 0.5, 50.0  # in less, a daemon may still be taking what it will always need
BATCH = 64
COMPARED = 8  # streams of the batch whose posteriors are held against the model's own


def spoken() -> NDArray[np.int16]:
    return np.round(load_audio(SOUND, RATE) * 32767).astype(np.int16)


def in_real_time(folder: Path, streams: int, seconds: float) -> dict[str, Any]:
    """Streams from the network, for so long: what it came to. Raises `AssertionError`."""
    names = [f"room-{number}" for number in range(streams)]
    with House(folder, names, model=WORDS, pcm=spoken()) as house:
        memory = Memory(house.daemon)
        memory.watch_until(time.monotonic() + seconds)
        verdicts = house.settle(EXACT).values()
        assert house.witness.missed == 0
        house.daemon.stop()
    sent = sum(verdict.sent for verdict in verdicts)
    assert all(verdict.untold == verdict.twice == 0 for verdict in verdicts)
    return {"streams": streams, "stream_s": sent / RATE, "lost": sum(v.lost for v in verdicts), **memory.figures()}


def at_full_batch(folder: Path, hours: float) -> dict[str, Any]:
    """Recordings of so many hours in all, as fast as they go: what it came to. Raises `AssertionError`."""
    pcm = spoken()
    length = round(hours * 3600 / BATCH) * RATE
    sents = [Sent(f"room-{number}", np.roll(pcm, 999 * number), 0, length, held=54) for number in range(BATCH)]
    tables = []
    for sent in sents:
        path = folder / f"{sent.name}.flac"
        soundfile.write(path, sent.samples(0, length), RATE)
        tables.append(f'[[stream]]\nname = "{sent.name}"\nmodel = "{WORDS}"\nsource = "recording:{path}?pace=none"\n')
    endpoint, config = f"ipc://{folder}/publish", folder / "otolith.toml"
    config.write_text(f'publish = "{endpoint}"\n' + "posteriors_per_s = 1\n".join([*tables, ""]))
    with (
        (folder / "log").open("wb") as log,
        Witness(endpoint) as witness,
        DaemonProcess(str(config), stderr=log) as daemon,
    ):
        began_s, memory = time.monotonic(), Memory(daemon)
        wait_for(lambda: len({message.stream for message in witness.messages}) == BATCH)
        memory.watch_until(began_s + 3600)
        lasted_s = time.monotonic() - began_s
        assert daemon.process.returncode == 0
        time.sleep(1)
    assert witness.missed == 0
    model = Model.open(WORDS)
    for number, sent in enumerate(sents):
        sent.began_ns = first_ns(witness, sent) if number < COMPARED else 0
        verdict = judge(witness.messages, sent, model, EXACT)
        assert (verdict.left, verdict.untold) == (0, 0), verdict
    heard_s = BATCH * length / RATE
    figures = {"streams": BATCH, "stream_s": heard_s, "lasted_s": lasted_s, "times_real": heard_s / lasted_s}
    return figures | memory.figures()


def first_ns(witness: Witness, sent: Sent) -> int:
    """When a recording began, told from its first posteriors."""
    first = next(m for m in witness.messages if m.stream == sent.name and isinstance(m, PosteriorsMessage))
    return first.time_ns - round(first.position * 1e9 / RATE)


class Memory:
    """A daemon's resident memory, looked at again and again."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon, self._process = daemon, psutil.Process(daemon.process.pid)
        self.resident: list[int] = []

    def watch_until(self, end_s: float) -> None:
        """Until then, or until the daemon has ended."""
        while time.monotonic() < end_s and self._daemon.process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                self.resident.append(self._process.memory_info().rss)
            time.sleep(LOOK_S)

    def figures(self) -> dict[str, Any]:
        """What it came to behind the first tenth."""
        steady = [resident for resident in self.resident[len(self.resident) // 10 :] if resident]
        growth = max(steady) - steady[0]
        is_long = len(self.resident) * LOOK_S >= LONG_S
        assert growth <= GROWTH_BYTES or not is_long, f"grew by {growth} bytes: {steady[:: max(1, len(steady) // 20)]}"
        return {"resident_mb": round(max(steady) / 1e6, 1), "growth_mb": round(growth / 1e6, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--hours", type=float, default=0.25)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as live, tempfile.TemporaryDirectory() as batch:
        if arguments.minutes:
            figures["in real time"] = in_real_time(Path(live), arguments.streams, 60 * arguments.minutes)
            print("in real time", figures["in real time"], flush=True)
        if arguments.hours:
            figures["at full batch"] = at_full_batch(Path(batch), arguments.hours)
            print("at full batch", figures["at full batch"], flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
