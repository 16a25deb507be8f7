"""Series: sensor recordings without labels, to forecast; split by files as any others, or by rows where one is long."""

from __future__ import annotations

from pathlib import Path

from otolith.errors import OtolithError
from otolith_training.data.datasets import SPLIT_NAMES, Run, read_runs
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
    d, rows = recipe.data, recipe.frontend
    assert isinstance(rows, Rows)  # noqa: S101 - the recipe was checked for it
    names = [channel.name for channel in rows.channels]
    patterns = () if place.is_file() else d.files
    return read_runs(place, names, rows.sample_rate, d.label_column, d.group_column, patterns, labelled=False)


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
