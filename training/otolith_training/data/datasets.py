"""What a user brings, as clips of sound, runs of rows and lines of text, each with its label, its group and its split.

Sound: a folder a label, or `manifest.csv` with `file,label[,split,speaker]`. Sensors: one CSV or Parquet file a
recording, beside a `manifest.csv` with `file[,label,split,subject]` or without one; or packed `*.npz` files with `X`
(rows, channels), `y` (label index), `offsets` (runs + 1), `labels`, `channels` and, where known, `subject` and `t_ms`;
or `X` (windows, rows, channels) and `y` a window, without `offsets`. A packed file named after a split is that split.
Text is read by `texts.py`.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError, RecordingError
from otolith.inference.tokenizer import Ids, Tokenizer
from otolith.recordings import AUDIO_SUFFIXES, SENSOR_SUFFIXES, is_sensor_file, read_sensor
from otolith_training.data.packed import read_arrays

Split = Literal["train", "dev", "test"]
Floats = NDArray[np.float32]

MANIFEST = "manifest.csv"
NOISE_FOLDER = "_background_noise_"
GROUP_COLUMNS = ("speaker", "subject")
SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "development", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
}
RATE_TOLERANCE = 0.25  # real sensors say 100 Hz and deliver 104; half or double is another thing


@dataclass(frozen=True, slots=True)
class Clip:
    """A short sound file with one label."""

    name: str  # relative to its set's folder
    path: Path
    label: str
    group: str | None  # its speaker
    split: Split | None  # None until one is given or drawn


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Rows recorded in one go, each with a label."""

    name: str
    path: Path
    values: Floats  # (rows, channels)
    labels: tuple[str, ...]  # one a row
    group: str | None  # its subject
    split: Split | None
    history: int = 0  # rows at its start that are only there to be looked back on


@dataclass(frozen=True, slots=True)
class Line:
    """An utterance of text with its label, or a passage without one."""

    name: str  # a hash of its words: the same words have the same name
    path: Path
    lines: tuple[str, ...]  # one, but of codes and of passages
    label: str
    group: str | None  # its author
    split: Split | None

    def encode(self, tokenizer: Tokenizer) -> Ids:
        """Its tokens' ids `(n,)`."""
        return np.concatenate([np.empty(0, np.int64), *(tokenizer.encode(line) for line in self.lines)])


AnyItem = Clip | Run | Line
Item = TypeVar("Item", Clip, Run, Line)


def read_clips(
    folder: Path,
    label_column: str = "label",
    group_column: str = "",
    patterns: Sequence[str] = (),
    suffixes: Collection[str] = AUDIO_SUFFIXES,
) -> list[Clip]:
    """The clips of a folder, sorted by name. Raises `OtolithError` where there are none."""
    require_folder(folder)
    if (folder / MANIFEST).is_file():
        clips = [
            Clip(
                row["file"],
                folder / row["file"],
                _cell(folder / MANIFEST, row, label_column),
                _group(row, group_column),
                _split(folder / MANIFEST, row),
            )
            for row in read_manifest(folder)
        ]
    else:
        clips = [
            Clip(path.relative_to(folder).as_posix(), path, path.relative_to(folder).parts[0], None, None)
            for path in sorted(folder.glob("*/**/*"))
            if path.suffix.lower() in suffixes
        ]
    clips = sorted((c for c in clips if matches(c.name, patterns)), key=lambda clip: clip.name)
    if not clips:
        raise OtolithError(f"{folder}: holds no recordings; it needs a folder a label, or {MANIFEST} (file,label)")
    return clips


def read_runs(
    place: Path,
    channels: Sequence[str],
    sample_rate: float,
    label_column: str = "label",
    group_column: str = "",
    patterns: Sequence[str] = (),
    *,
    labelled: bool = True,
) -> list[Run]:
    """The runs of a folder, or of one packed or plain file. Raises `OtolithError` where there are none.

    Rows are taken as they are, by count: a recording whose own rate is far from `sample_rate` is refused. Where they
    need not be `labelled`, as to be forecast, labels are not looked for.
    """
    default: dict[str, str] | None = {} if labelled else None
    if place.is_file():
        if place.suffix == ".npz":
            return _packed_runs(place, channels, labelled)
        return [_plain_run(place, channels, sample_rate, default)]
    require_folder(place)
    if (place / MANIFEST).is_file():
        manifest = place / MANIFEST
        rows = [row for row in read_manifest(place) if matches(row["file"], patterns)]
        runs = []
        for row in rows:
            own = {"label": row.get(label_column, "")} if labelled else None
            run = _plain_run(place / row["file"], channels, sample_rate, own)
            runs.append(replace(run, name=row["file"], group=_group(row, group_column), split=_split(manifest, row)))
    else:
        paths = [path for path in sorted(place.glob("**/*")) if matches(path.relative_to(place).as_posix(), patterns)]
        runs = [run for path in paths if path.suffix == ".npz" for run in _packed_runs(path, channels, labelled)]
        plain = [path for path in paths if is_sensor_file(path)] if not runs or patterns else []
        for path in plain:
            name = path.relative_to(place).as_posix()
            runs.append(replace(_plain_run(path, channels, sample_rate, default), name=name))
    if not runs:
        raise OtolithError(f"{place}: holds no recordings; it needs {', '.join(SENSOR_SUFFIXES)} or packed .npz files")
    return runs


def read_manifest(folder: Path) -> list[dict[str, str]]:
    """The rows of a folder's manifest. Raises `OtolithError` where it names files that are not in the folder.

    A link in the folder is the user's own doing; a name that leads out of it may be that of whoever wrote the set.
    """
    path = folder / MANIFEST
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OtolithError(f"{path}: cannot be read as CSV ({error}); export it as UTF-8 CSV") from None
    if not rows or "file" not in rows[0]:
        raise OtolithError(f"{path}: has no column 'file' or no rows; name one recording a row")
    outside = [row["file"] for row in rows if row["file"] and leads_out(row["file"])]
    if outside:
        raise OtolithError(
            f"{path}: names {len(outside)} of {len(rows)} files outside of its folder, the first {outside[0]!r}; "
            "copy them into it or link to them from there, and name them as they are called there"
        )
    missing = [row["file"] for row in rows if not row["file"] or not (folder / row["file"]).is_file()]
    if missing:
        raise OtolithError(
            f"{path}: names {len(missing)} of {len(rows)} files that are not there, the first {missing[0]!r}; "
            "copy them or take their rows out"
        )
    return rows


def leads_out(name: str) -> bool:
    """Would a file of that name lie outside of the folder that it is looked for in?"""
    return Path(name).is_absolute() or ".." in Path(name).parts


def map_label(label: str, labels: Sequence[str], unknown: str | None, background: str | None, where: str) -> str:
    """The model's label for a data set's: itself, or unknown. Raises `OtolithError` where there is neither."""
    if label in labels:
        return label
    if label == NOISE_FOLDER and background is not None:
        return background
    if unknown is not None:
        return unknown
    raise OtolithError(
        f"{where}: label {label!r} is none of {', '.join(labels)}, and there is no label for the unknown; "
        "leave such files out or name the label in the recipe"
    )


def require_labels(found: Collection[str], where: str) -> None:
    """Raise `OtolithError` unless there are two labels to tell apart."""
    if len(set(found)) < 2:
        raise OtolithError(
            f"{where}: holds one label only ({', '.join(sorted(set(found))) or 'none'}); "
            "bring recordings of at least two"
        )


def fingerprint(files: Mapping[str, Path]) -> str:
    """sha256 over the sorted names of `files` and the hash of each one's content."""
    total = hashlib.sha256()
    for name, path in sorted(files.items()):
        total.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return f"sha256:{total.hexdigest()}"


def fingerprints(files: Mapping[str, Path]) -> dict[str, str]:
    """Fingerprints, and the packed file each is of, or "" for all plain files together: packed ones are sets alone."""
    plain = {name: path for name, path in files.items() if path.suffix != ".npz"}
    found = {fingerprint(plain): ""} if plain else {}
    packed = sorted(name for name in files if name not in plain)
    return found | {fingerprint({name: files[name]}): name for name in packed}


def _plain_run(path: Path, channels: Sequence[str], sample_rate: float, row: Mapping[str, str] | None) -> Run:
    """A file's run; its label is its manifest's row's where it has none a row. None: it needs none."""
    recording = read_sensor(path)
    rate = recording.rate
    if rate and abs(rate / sample_rate - 1) > RATE_TOLERANCE:
        raise RecordingError(
            f"{path}: has {rate:.4g} rows a second where {sample_rate:g} are expected; resample the recording"
        )
    values = recording.select(channels)
    if row is None:
        return Run(path.name, path, values, (), None, None)
    labels = recording.labels
    if labels is None:
        label = row.get("label", "")
        if not label:
            raise RecordingError(f"{path}: has no column label, and no {MANIFEST} names one for it; add either")
        labels = (label,) * len(values)
    return Run(path.name, path, values, labels, None, None)


def _packed_runs(path: Path, channels: Sequence[str], labelled: bool) -> list[Run]:
    """The runs of a packed file."""
    arrays = _packed_arrays(path, labelled)
    names = [str(name) for name in arrays["channels"]]
    if missing := [name for name in channels if name not in names]:
        raise RecordingError(f"{path}: has no channel {', '.join(missing)} (found {', '.join(names)})")
    values = arrays["X"][:, [names.index(name) for name in channels]].astype(np.float32)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise RecordingError(f"{path}: row {row} holds what is not a number; mend or leave out its run")
    labels = np.array([str(label) for label in arrays["labels"]])[arrays["y"]]
    starts = arrays["offsets"].tolist()
    subjects = [str(s) for s in arrays["subject"]] if "subject" in arrays else [None] * (len(starts) - 1)
    keys = [str(e) for e in arrays["execution"]] if "execution" in arrays else [str(i) for i in range(len(starts) - 1)]
    split = SPLIT_NAMES.get(path.stem.lower())
    for index, (start, end) in enumerate(pairwise(starts)):
        if "t_ms" in arrays and (np.diff(arrays["t_ms"][start:end]) < 0).any():
            raise RecordingError(f"{path}: run {keys[index]}: time runs backwards; sort its rows")
    return [
        Run(
            f"{path.name}/{key}",
            path,
            np.ascontiguousarray(values[start:end]),
            tuple(labels[start:end]) if labelled else (),
            subject,
            split,
        )
        for key, subject, (start, end) in zip(keys, subjects, pairwise(starts), strict=True)
    ]


def _packed_arrays(path: Path, labelled: bool) -> dict[str, NDArray[Any]]:
    """The arrays of a packed file, read without pickles; windows are laid end to end, each as a run of its own."""
    arrays = read_arrays(path, "a packed set")
    if not labelled:  # whatever stands there
        arrays |= {"y": np.zeros(len(arrays.get("X", ())), np.int64), "labels": np.array([""])}
    wanted = ("X", "y", "offsets", "labels", "channels")
    if "X" in arrays and "y" in arrays and arrays["X"].ndim == 3 and "offsets" not in arrays:
        windows, rows, _ = arrays["X"].shape
        if arrays["y"].shape != (windows,):
            raise RecordingError(f"{path}: y is {arrays['y'].shape} for {windows} windows; a window has one label")
        arrays["X"], arrays["y"] = arrays["X"].reshape(windows * rows, -1), arrays["y"].repeat(rows)
        arrays["offsets"] = np.arange(windows + 1) * rows
    if missing := [name for name in wanted if name not in arrays]:
        raise RecordingError(f"{path}: has no array {', '.join(missing)}; a packed set holds {', '.join(wanted)}")
    return arrays


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a file's name fits any of the patterns; where there are none, every name does."""
    return not patterns or any(Path(name).match(pattern) for pattern in patterns)


def _cell(where: Path, row: Mapping[str, str], column: str) -> str:
    value = row.get(column) or ""
    if not value:
        raise OtolithError(
            f"{where}: {row['file']}: column {column!r} is missing or empty; name the file's label there"
        )
    return value


def _group(row: Mapping[str, str], column: str) -> str | None:
    for name in [column] if column else GROUP_COLUMNS:
        if row.get(name):
            return row[name]
    return None


def _split(where: Path, row: Mapping[str, str]) -> Split | None:
    value = (row.get("split") or "").lower()
    if value and value not in SPLIT_NAMES:
        raise OtolithError(f"{where}: {row['file']}: split {value!r} is none of train, dev and test; use those")
    return SPLIT_NAMES.get(value)


def require_folder(folder: Path) -> None:
    """Raise `OtolithError` unless there is such a folder."""
    if not folder.is_dir():
        raise OtolithError(f"{folder}: is no folder of recordings; name one with --data")
