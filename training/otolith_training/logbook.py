"""The logbook: a training's own folder, which tells how it went and holds what it takes to go on with it.

`recipe.toml`, `versions.json` (an entry each time it was begun or resumed), `metrics.jsonl` (a line an epoch),
`checkpoint.pt`, TensorBoard's events where tensorboard is installed, and the batch that stopped it if one did.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from otolith.errors import OtolithError
from otolith_training.data.composer import Chunk
from otolith_training.network.cards import versions

FORMAT = 1
Record = dict[str, Any]
Identity = dict[str, str]  # by what it is of: recipe, seed, recordings
NOT_THE_SAME = ("began", "command", "from_epoch")  # what may differ without the weights being others


class Logbook:
    """One training's folder, for the training of that `identity` and no other."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self.checkpoint = folder / "checkpoint.pt"
        self._identity = identity
        self._metrics = folder / "metrics.jsonl"
        self._versions = folder / "versions.json"
        self._events: Any = None

    @classmethod
    def begin(cls, runs: Path, identity: Identity) -> Logbook:
        """A new folder in `runs`, named by the next free number."""
        runs.mkdir(parents=True, exist_ok=True)
        number = max((int(folder.name) for folder in _numbered(runs)), default=0) + 1
        while True:
            try:
                (runs / f"{number:03d}").mkdir()
            except FileExistsError:  # another training began just now
                number += 1
            else:
                return cls(runs / f"{number:03d}", identity)

    @classmethod
    def latest(cls, runs: Path, identity: Identity) -> Logbook | None:
        """The last folder in `runs` that a training could go on from, if there is one."""
        found = [folder for folder in _numbered(runs) if (folder / "checkpoint.pt").is_file()]
        return cls(max(found, key=lambda folder: int(folder.name)), identity) if found else None

    def open(self, text: str, setting: Record, history: Sequence[Record]) -> list[str]:
        """Write down the recipe, where and with what it is learned (`setting`), and the epochs that are behind it.

        Returns what is not as it was when this training began, each as `NAME OLD, now NEW`.
        """
        began = {"began": datetime.now(UTC).isoformat(timespec="seconds"), "command": sys.argv}
        entry = {**began, "from_epoch": len(history), **surroundings(), **setting}
        entries = self._entries()
        _write(self.folder / "recipe.toml", text.encode())
        _write(self._versions, msgspec.json.format(msgspec.json.encode([*entries, entry]), indent=2) + b"\n")
        _write(self._metrics, b"".join(_line(record) for record in history))
        self._events = _tensorboard(self.folder, len(history))
        first = entries[0] if entries else entry
        names = sorted((entry.keys() | first.keys()) - set(NOT_THE_SAME))
        return [f"{n} {first.get(n)}, now {entry.get(n)}" for n in names if first.get(n) != entry.get(n)]

    def note(self, record: Record) -> None:
        """Add an epoch's line."""
        with self._metrics.open("ab") as file:
            file.write(_line(record))
        if self._events is not None:
            for name, value in record.items():
                if name != "epoch":
                    self._events.add_scalar(name, value, record["epoch"])
            self._events.flush()

    def save(self, checkpoint: Mapping[str, Any]) -> None:
        """Write a checkpoint beside the last one, then rename it: whole, or the one before."""
        beside = self.checkpoint.with_suffix(".part")
        with beside.open("wb") as file:
            torch.save({"format": FORMAT, "identity": self._identity, **checkpoint}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.checkpoint)

    def load(self) -> Record | None:
        """The last checkpoint, if there is one. Raises `OtolithError` where it is of another training."""
        if not self.checkpoint.exists():
            return None
        try:
            kept: Record = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            found = kept["identity"] if kept["format"] == FORMAT else {}
        except Exception as error:  # noqa: BLE001 - torch has no error of its own for what is no checkpoint
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise OtolithError(
                f"{self.checkpoint}: cannot be read as a checkpoint ({reason}); begin anew without --resume"
            ) from None
        if others := [name for name, value in self._identity.items() if found.get(name) != value]:
            raise OtolithError(
                f"{self.checkpoint}: was learned with another {' and another '.join(others)}; "
                "put back what it began with, or begin anew without --resume"
            )
        return kept

    def keep_batch(self, chunk: Chunk, epoch: int, step: int) -> Path:
        """Write the chunk from which nothing could be learned, to be looked at."""
        path = self.folder / f"batch-{epoch}-{step}.npz"
        np.savez_compressed(path, frames=chunk.frames, allowed=chunk.allowed, fresh=chunk.fresh)
        return path

    def close(self) -> None:
        """Nothing more will be noted."""
        if self._events is not None:
            self._events.close()

    def _entries(self) -> list[Record]:
        try:
            return msgspec.json.decode(self._versions.read_bytes(), type=list[Record])
        except (OSError, msgspec.DecodeError):
            return []


def surroundings() -> Record:
    """What a training's figures hang on besides its recipe and its data."""
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {**versions(), "platform": platform.platform(), "threads": torch.get_num_threads(), **gpu}


def _numbered(runs: Path) -> list[Path]:
    return [folder for folder in runs.glob("*") if folder.name.isdecimal() and folder.is_dir()]


def _line(record: Record) -> bytes:
    return msgspec.json.encode(record) + b"\n"


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    beside.replace(path)


def _tensorboard(folder: Path, done: int) -> Any:
    """A writer of events where tensorboard is installed; what a killed training wrote of later epochs is dropped."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=done + 1)
