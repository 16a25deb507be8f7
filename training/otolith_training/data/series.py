"""Series: sensor recordings without labels, to forecast; split by files as any others, or by rows where one is long."""

from __future__ import annotations

from pathlib import Path

from otolith.errors import OtolithError, RecordingError
from otolith.recordings import SENSOR_SUFFIXES, is_sensor_file, read_sensor
from otolith_training.data.datasets import RATE_TOLERANCE, SPLIT_NAMES, Run
from otolith_training.data.splits import assign_splits
from otolith_training.recipe import Recipe, Rows

HISTORY_ROWS = 1000  # that a held-out part is preceded by besides its look-back, for the network's own state


def list_series(recipe: Recipe, data: Path) -> list[Run]:
    """The series that a recipe names, split, without labels. Raises `OtolithError`."""
    d = recipe.data
    runs = read_series(recipe, data / d.path)
    if d.rows:
        return [part for run in runs for part in split_rows(run, recipe)]
    return assign_splits(runs, d.dev, d.test)


def read_series(recipe: Recipe, place: Path) -> list[Run]:
    """The series of a file, or of a folder's files that the recipe's patterns name, whole. Raises `OtolithError`."""
    rows, patterns = recipe.frontend, recipe.data.files
    assert isinstance(rows, Rows)  # noqa: S101 - the recipe was checked for it
    paths = [place]
    if place.is_dir():
        paths = [path for path in sorted(place.glob("**/*")) if is_sensor_file(path)]
        paths = [path for path in paths if not patterns or any(path.match(pattern) for pattern in patterns)]
    if not paths:
        raise OtolithError(f"{place}: holds no recordings; it needs {', '.join(SENSOR_SUFFIXES)} files")
    names = [channel.name for channel in rows.channels]
    found = []
    for path in paths:
        recording = read_sensor(path)
        if recording.rate and abs(recording.rate / rows.sample_rate - 1) > RATE_TOLERANCE:
            raise RecordingError(
                f"{path}: has {recording.rate:.4g} rows a second where {rows.sample_rate:g} are expected; "
                "resample the recording"
            )
        name = path.relative_to(place).as_posix() if path != place else path.name
        found.append(Run(name, path, recording.select(names), (), None, None))
    return found


def split_rows(run: Run, recipe: Recipe) -> list[Run]:
    """A series' parts as the recipe's rows say, each with the rows before it to look back on. Raises `OtolithError`."""
    assert recipe.forecast is not None  # noqa: S101 - the recipe was checked for it
    parts = []
    for name, (start, end) in recipe.data.rows.items():
        if end > len(run.values):
            raise OtolithError(f"{run.path}: has {len(run.values)} rows; data.rows.{name} of the recipe ends at {end}")
        history = min(start, recipe.forecast.look_back + HISTORY_ROWS)
        values = run.values[start - history : end]
        parts.append(Run(f"{run.name}[{start}:{end}]", run.path, values, (), None, SPLIT_NAMES[name], history))
    return parts
