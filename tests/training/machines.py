"""Machines that never were: a hum, and where a bearing is worn a second, higher one; packed, or as plain files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 2000
FULL_SCALE = 8.0  # g
STEP = 0.001  # g, of a count

Floats = NDArray[np.float32]


def vibration(label: str, load: int, seconds: float, rate: int = RATE) -> Floats:
    """Acceleration in g `(n,)`; under load the shaft turns a little slower."""
    random = np.random.default_rng(load)
    time_s = np.arange(round(seconds * rate)) / rate
    speed = 1 - 0.02 * load
    values = np.sin(2 * np.pi * 100 * speed * time_s) + 0.2 * random.standard_normal(len(time_s))
    if label == "worn":
        values += 0.7 * np.sin(2 * np.pi * 400 * speed * time_s)
    return np.asarray(values, np.float32)


def write_packed(path: Path, **changes: Any) -> Path:
    """Three seconds of each label under loads 0 and 1; the sound one under load 0 was recorded at twice the rate."""
    conditions = [("sound", 0, 2), ("sound", 1, 1), ("worn", 0, 1), ("worn", 1, 1)]
    records = [vibration(label, load, 3.0, times * RATE) for label, load, times in conditions]
    arrays = {
        "counts": np.rint(np.concatenate(records) / STEP).astype(np.int16)[:, None],
        "scale": np.full((4, 1), STEP),
        "offsets": np.cumsum([0, *map(len, records)]),
        "sample_rate": np.array([times * RATE for _, _, times in conditions]),
        "record": np.array([f"{label}_{load}" for label, load, _ in conditions]),
        "label": np.array([label for label, _, _ in conditions]),
        "size": np.array([0, 0, 7, 7]),
        "load": np.array([load for _, load, _ in conditions]),
        "channels": np.array(["DE"]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{name: array for name, array in (arrays | changes).items() if array is not None})
    return path


def write_csv(path: Path, values: Floats, rate: int = RATE) -> Path:
    """A recording as a logger writes it: seconds and g."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(f"{index / rate:.6f},{value:.5f}" for index, value in enumerate(values.tolist()))
    path.write_text(f"t,DE\n{rows}\n")
    return path


def write_wav(path: Path, values: Floats) -> Path:
    """A recording as a recorder writes it, in parts of its full scale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, values / FULL_SCALE, RATE, subtype="FLOAT")
    return path


def write_manifest(folder: Path, rows: Mapping[str, str]) -> None:
    """`file,label` a row."""
    (folder / "manifest.csv").write_text("file,label\n" + "".join(f"{name},{label}\n" for name, label in rows.items()))
