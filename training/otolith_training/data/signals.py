"""Signals: recordings of one label throughout, as of a machine: what an accelerometer gave, in parts of full scale.

Sound files and CSV (a column `t`, and one named as the recipe's channel, in its unit), in a folder a label or under a
manifest; or packed `*.npz` files without pickles: `counts` (samples, channels) of whole numbers, `scale` (records,
channels) that makes units of them, `offsets` (records + 1), `sample_rate`, and columns of one value a record, of which
`label_column` names the label (several joined by `+` give `inner_7`) and `group_column` the group.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.errors import RecordingError
from otolith.inference.card import FULL_SCALE, Channel
from otolith.recordings import AUDIO_SUFFIXES, SENSOR_SUFFIXES, load_audio, read_sensor
from otolith_training.data.datasets import (
    Clip,
    Run,
    Split,
    map_label,
    matches,
    read_clips,
    require_folder,
    require_labels,
)
from otolith_training.data.packed import read_arrays
from otolith_training.data.splits import DEV_SHARE, TEST_SHARE
from otolith_training.recipe import Recipe, Sound

Floats = NDArray[np.float32]

RATE_SLACK = 0.001  # a clock this little off is taken as it is
PACKED = ("counts", "scale", "offsets", "sample_rate")


@dataclass(frozen=True, slots=True, eq=False)
class Signal(Clip):
    """A recording, or a part of one, whose samples are at hand: `(n,)` in parts of full scale, at the model's rate."""

    samples: Floats


@dataclass(frozen=True, slots=True)
class Format:
    """How samples must come: what a recipe's front end, or a model's card, says of them."""

    rate: int
    channel: Channel
    full_scale: float  # in the channel's unit


def whole_of(item: Clip | Run, rate: int) -> Floats:
    """All of an item, whatever kind it is of: samples `(n,)` at `rate` Hz, or rows `(n, channels)`."""
    if isinstance(item, Signal):
        return item.samples
    return load_audio(item.path, rate) if isinstance(item, Clip) else item.values


def list_signals(recipe: Recipe, data: Path) -> list[Clip]:
    """The signals that the recipe names, split, with the model's labels. Raises `OtolithError`."""
    d, where = recipe.data, str(data / recipe.data.path)
    signals = read_signals(data / d.path, format_of(recipe), d.label_column, d.group_column, d.files)
    found = {signal.label for signal in signals}
    names = {label: map_label(label, recipe.all_labels, d.unknown, d.background, where) for label in sorted(found)}
    require_labels(list(names.values()), where)
    return split_signals([replace(signal, label=names[signal.label]) for signal in signals], d.dev, d.test)


def format_of(recipe: Recipe) -> Format:
    """What the recipe's front end takes."""
    f = recipe.frontend
    assert isinstance(f, Sound)  # noqa: S101 - the recipe was checked for it
    return Format(f.sample_rate, f.channel, f.full_scale)


def read_signals(
    place: Path, form: Format, label_column: str = "label", group_column: str = "", patterns: Sequence[str] = ()
) -> list[Signal]:
    """The signals of a folder, or of one packed file, sorted by name. Raises `OtolithError` where there are none."""
    if place.is_file():
        return _packed(place, place.name, form, label_column, group_column)
    require_folder(place)
    paths = [(path, path.relative_to(place).as_posix()) for path in sorted(place.glob("**/*.npz"))]
    columns = label_column, group_column
    packed = [_packed(path, name, form, *columns) for path, name in paths if matches(name, patterns)]
    if packed:
        return sorted(chain.from_iterable(packed), key=lambda signal: signal.name)
    clips = read_clips(place, *columns, patterns, suffixes=(*AUDIO_SUFFIXES, *SENSOR_SUFFIXES))
    return [Signal(c.name, c.path, c.label, c.group, c.split, _read(c.path, form)) for c in clips]


def split_signals(signals: Sequence[Signal], dev: Collection[str] = (), test: Collection[str] = ()) -> list[Clip]:
    """Every signal with a split: groups named in `dev` and `test`, else the manifest's; of all others the end is held
    out, since one record a condition leaves no whole ones to give away.

    The last 15 % go to `test` and the 15 % before to `dev`; where groups or a manifest make up one of them, no ends do.
    """
    held: dict[str, Split] = {**dict.fromkeys(dev, "dev"), **dict.fromkeys(test, "test")}
    named = [held.get(signal.group or "", signal.split) for signal in signals]
    shares = [0.0 if split in named else share for split, share in (("dev", DEV_SHARE), ("test", TEST_SHARE))]
    parts: list[Clip] = []
    for signal, split in zip(signals, named, strict=True):
        if split in ("dev", "test"):
            parts.append(replace(signal, split=split))
        else:
            parts += _by_time(signal, *shares)
    return parts


def _by_time(signal: Signal, dev: float, test: float) -> list[Signal]:
    """The signal's beginning, and its ends that are held out, each named by its split."""
    length = len(signal.samples)
    edges = [0, round((1 - dev - test) * length), round((1 - test) * length), length]
    splits: tuple[Split, ...] = ("train", "dev", "test")
    return [
        replace(signal, name=f"{signal.name}:{split}", split=split, samples=signal.samples[start:end])
        for split, (start, end) in zip(splits, pairwise(edges), strict=True)
        if end > start
    ]


def _read(path: Path, form: Format) -> Floats:
    """One file's samples. Sound files hold parts of full scale already: the recorder's must be the recipe's."""
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return load_audio(path, form.rate)
    recording = read_sensor(path)
    if form.channel.unit == FULL_SCALE:
        raise RecordingError(f"{path}: holds values of some unit; name it and full_scale in the recipe's front end")
    values = recording.select([form.channel.name])[:, 0]
    return _resampled(values / np.float32(form.full_scale), recording.rate, form.rate, str(path))


def _packed(path: Path, name: str, form: Format, label_column: str, group_column: str) -> list[Signal]:
    arrays = _arrays(path)
    records = len(arrays["offsets"]) - 1
    columns = [_column(arrays, name, path) for name in label_column.split("+")]
    labels = ["_".join(parts) for parts in zip(*columns, strict=True)]
    groups = _column(arrays, group_column, path) if group_column else [None] * records
    names = _column(arrays, "record", path) if "record" in arrays else [str(index) for index in range(records)]
    channels = [str(channel) for channel in arrays.get("channels", [form.channel.name])]
    if form.channel.name not in channels:
        raise RecordingError(f"{path}: has no channel {form.channel.name} (found {', '.join(channels)}); name one")
    at = channels.index(form.channel.name)
    signals = []
    for index, (start, end) in enumerate(pairwise(arrays["offsets"].tolist())):
        values = arrays["counts"][start:end, at] * (arrays["scale"][index, at] / form.full_scale)
        where = f"{path}: record {names[index]}"
        samples = _resampled(values, float(arrays["sample_rate"][index]), form.rate, where)
        signals.append(Signal(f"{name}/{names[index]}", path, labels[index], groups[index], None, samples))
    return signals


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """A packed file's arrays, read without pickles, of which those that must be there fit each other."""
    arrays = read_arrays(path, "packed signals")
    if missing := [name for name in PACKED if name not in arrays]:
        raise RecordingError(f"{path}: has no array {', '.join(missing)}; packed signals hold {', '.join(PACKED)}")
    counts, scale, offsets = (arrays[name] for name in PACKED[:3])
    fits = counts.ndim == 2 and scale.shape == (len(offsets) - 1, counts.shape[1]) and offsets[-1] == len(counts)
    if not fits or (np.diff(offsets) <= 0).any() or len(arrays["sample_rate"]) != len(offsets) - 1:
        raise RecordingError(
            f"{path}: counts {counts.shape}, scale {scale.shape} and {len(offsets)} offsets do not fit each other; "
            "(samples, channels), (records, channels) and records + 1 that rise must stand there"
        )
    return arrays


def _column(arrays: dict[str, NDArray[Any]], name: str, path: Path) -> list[str]:
    """A column's value a record, as text."""
    records = len(arrays["offsets"]) - 1
    if name not in arrays or arrays[name].shape != (records,):
        columns = sorted(column for column, values in arrays.items() if values.shape == (records,))
        raise RecordingError(f"{path}: has no column {name!r} of a value a record; it has {', '.join(columns)}")
    return [str(value) for value in arrays[name]]


def _resampled(values: NDArray[np.floating[Any]], found: float, rate: int, where: str) -> Floats:
    """The values at `rate` Hz, behind a filter where that takes some away."""
    if not np.isfinite(values).all():
        bad = int(np.argmin(np.isfinite(values)))
        raise RecordingError(f"{where}: sample {bad} is not a number; mend it or leave it out")
    samples = np.asarray(values, np.float32)
    if abs(found / rate - 1) <= RATE_SLACK:
        return samples
    if not 0.1 <= found / rate <= 100:
        raise RecordingError(f"{where}: has {found:g} samples a second where {rate} are wanted; record it faster")
    import soxr

    return np.asarray(soxr.resample(samples, found, rate), np.float32)
