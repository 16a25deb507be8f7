"""Who competes: each a process of its own, in its own environment, on one core, and its answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import QUIET, pinned
from models import WORDS, make_gru_64, sound_bytes
from shapes import make_openwakeword
from venvs import ENVIRONMENTS, python_of

HERE = Path(__file__).parent
PEERS = ("earshot", "webrtcvad", "microwakeword", "silero", "openwakeword")
MOST = {"openwakeword": 8}  # each of its streams opens three sessions of its own


@dataclass(frozen=True)
class Contestant:
    """`module` is the file in `peers/`; beyond `most` streams it is not asked."""

    name: str
    module: str
    python: Path
    sound: Path
    options: tuple[str, ...] = ()
    most: int = 1_000_000

    def run(self, core: int, streams: int, seconds: float) -> dict[str, Any]:
        """What `peers/contest.py` tells; with no `seconds`, `first_s` too: how long a process took to its first answer.

        Raises `SystemExit` where it fails, with its last line.
        """
        arguments = [self.sound, str(streams), str(seconds), *self.options]
        command = pinned(core, [self.python, "-m", f"peers.{self.module}", *arguments])
        inherited = {key: value for key, value in os.environ.items() if self.is_ours or key != "PYTHONPATH"}
        began = time.monotonic()
        done = subprocess.run(command, cwd=HERE, env=inherited | QUIET, capture_output=True, text=True)
        lasted_s = time.monotonic() - began
        if done.returncode:
            raise SystemExit(f"{self.name}, {streams} streams: {done.stderr.strip().splitlines()[-1]}")
        return {**json.loads(done.stdout.splitlines()[-1]), **({} if seconds else {"first_s": lasted_s})}

    @property
    def is_ours(self) -> bool:
        """Whether it runs in this environment."""
        return self.module not in ENVIRONMENTS


def prepare(folder: Path, peers: tuple[str, ...] = PEERS) -> list[Contestant]:
    """Everyone, with sound and model files written to `folder`: ourselves, our network on a window, the peers."""
    sound = folder / "sound.raw"
    sound.write_bytes(sound_bytes())
    make_openwakeword(folder / "openwakeword")
    here, gru = Path(sys.executable), str(make_gru_64(folder))
    everyone = [
        Contestant(f"otolith {model}, {_calls(frames)}", "ours", here, sound, (file, str(frames)))
        for model, file in (("GRU 64", gru), ("words", str(WORDS)))
        for frames in (1, 4)
    ]
    everyone += [
        Contestant(f"window GRU 64, {_calls(frames)}", "window", here, sound, (gru, str(frames)), most=64)
        for frames in (1, 4)
    ]
    options = {"openwakeword": (str(folder / "openwakeword"),)}
    everyone += [
        Contestant(peer, peer, python_of(peer), sound, options.get(peer, ()), MOST.get(peer, 1_000_000))
        for peer in peers
    ]
    return everyone


def _calls(frames: int) -> str:
    return f"{frames} frame{'s' if frames > 1 else ''} a call"
