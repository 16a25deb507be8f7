"""The benchmark's score: null is 0, perfect is 100, and what lies between as the paper draws it."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from otolith.errors import OtolithError
from otolith_training.measure.nab import Series, optimise, read_corpus, reward, score, sigmoid
from otolith_training.measure.nab_run import recipe_for, run_corpus

RECIPE = Path(__file__).parents[3] / "training" / "otolith_training" / "recipes" / "nab.toml"
CORPUS = {"a": Series(1000, [(300, 399), (600, 699)]), "b": Series(500, [(200, 249)]), "quiet": Series(500, [])}
NOTHING: dict[str, list[int]] = {name: [] for name in CORPUS}


def test_to_detect_nothing_is_0() -> None:
    assert score(CORPUS, NOTHING).score == 0


def test_the_first_row_of_every_window_and_nothing_else_is_100() -> None:
    found = score(CORPUS, {"a": [300, 600], "b": [200], "quiet": []})
    assert found.score == pytest.approx(100)
    assert (found.windows, found.found, found.false_positives) == (3, 3, 0)


def test_a_window_counts_once_by_its_earliest_detection() -> None:
    once = score(CORPUS, {**NOTHING, "a": [350]}).score
    assert score(CORPUS, {**NOTHING, "a": [350, 351, 399]}).score == pytest.approx(once)
    worth = (1 - math.exp(-2.5)) / (1 + math.exp(-2.5)) / ((1 - math.exp(-5)) / (1 + math.exp(-5)))  # half way through
    assert once == pytest.approx(100 * (worth + 1) / 6)
    assert score(CORPUS, {**NOTHING, "a": [399]}).score < once < score(CORPUS, {**NOTHING, "a": [301]}).score


def test_what_is_wrong_costs_the_more_the_farther_behind_a_window_it_lies() -> None:
    def cost(row: int) -> float:
        return -score(CORPUS, {**NOTHING, "a": [row]}).score

    assert cost(299) == pytest.approx(100 * 0.11 / 6)  # nothing before it: the whole price
    assert 0 < cost(400) < cost(420) < cost(500) < cost(299)
    assert cost(999) == pytest.approx(100 * 0.11 / 6)  # more than three windows behind the last
    assert score(CORPUS, {**NOTHING, "quiet": [100, 101]}).score == pytest.approx(-2 * 100 * 0.11 / 6)


def test_the_first_part_is_not_scored_up_to_750_rows() -> None:
    assert score(CORPUS, {**NOTHING, "a": [0, 149]}).score == 0
    assert score(CORPUS, {**NOTHING, "a": [150]}).score < 0
    assert [Series(rows, []).probation for rows in (1000, 4032, 5000, 15902)] == [150, 604, 750, 750]


def test_the_scoring_function_is_the_paper_s() -> None:
    assert [sigmoid(at) for at in (-1, 0, 1)] == pytest.approx([0.98661, 0, -0.98661], abs=1e-5)
    assert reward(-1) == 1
    assert sigmoid(1e9) == -1


def test_one_threshold_serves_all_series() -> None:
    scores = {"a": {300: 0.9, 600: 0.5, 800: 0.4}, "b": {200: 0.6}, "quiet": {100: 0.3}}

    def detect(at: float) -> dict[str, list[int]]:
        return {name: [row for row, value in rows.items() if value >= at] for name, rows in scores.items()}

    threshold, best = optimise(CORPUS, detect, [0.2, 0.35, 0.45, 0.8])
    assert threshold == 0.45
    assert best.score == pytest.approx(100)


def write_corpus(folder: Path) -> Path:
    """Two series: a rhythm that breaks, and one that does not."""
    (folder / "made").mkdir(parents=True)
    hours = np.arange(1600)
    stamps = [str(datetime(2026, 1, 1) + timedelta(hours=hour)) for hour in hours.tolist()]
    for name, at in (("breaks", 1200), ("goes_on", 10**9)):
        values = 50 + 10 * np.sin(hours / 24 * 2 * np.pi) + np.random.default_rng(1).normal(0, 0.5, 1600)
        values[(hours >= at) & (hours < at + 60)] += 60
        lines = [f"{stamp},{value}" for stamp, value in zip(stamps, values.tolist(), strict=True)]
        (folder / "made" / f"{name}.csv").write_text("\n".join(["timestamp,value", *lines]))
    windows = {"made/breaks.csv": [[stamps[1150] + ".000000", stamps[1300] + ".000000"]], "made/goes_on.csv": []}
    (folder / "windows.json").write_text(json.dumps(windows))
    return folder


def test_a_series_that_breaks_is_found_by_the_stream_that_runs_live(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "nab")
    figures = run_corpus(corpus, RECIPE.read_text("utf-8"), tmp_path / "models")
    assert figures["windows"] == figures["found"] == 1
    assert figures["score"] > 90
    assert figures["by_folder"]["made"]["false_positives"] == figures["false_positives"]


def test_a_series_recipe_has_its_own_path_rate_rows_and_rest(tmp_path: Path) -> None:
    corpus = read_corpus(write_corpus(tmp_path / "nab"))
    series, path = corpus["made/breaks.csv"]
    assert (series.rows, series.windows, series.probation) == (1600, [(1150, 1300)], 240)
    text = recipe_for(RECIPE.read_text("utf-8"), path, series)
    assert 'path = "breaks.csv"' in text
    assert "rows = { train = [0, 240] }" in text
    line = next(line for line in text.splitlines() if line.startswith("refractory_s"))
    assert float(line.split("=")[1]) == pytest.approx(50 * 3600)  # 50 rows, as the recipe's own 15,000 s are


def test_a_folder_that_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OtolithError, match=r"windows\.json: cannot be read"):
        read_corpus(tmp_path)
    (tmp_path / "windows.json").write_text("{}")
    with pytest.raises(OtolithError, match="holds no series"):
        read_corpus(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.csv").write_text("timestamp,value\n2026-01-01 00:00:00,1\n")
    with pytest.raises(OtolithError, match=r"has no entry for a/b\.csv"):
        read_corpus(tmp_path)
