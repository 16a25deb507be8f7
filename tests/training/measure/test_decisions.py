"""Decisions, the soak and the comparison: on real clips and runs, by small models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith_training.data.material import list_clips, list_runs
from otolith_training.measure.compare import compare
from otolith_training.measure.decide import decide_run
from otolith_training.measure.decisions import Decisions, change_delays, concatenate, decide_all, figures_of
from otolith_training.measure.soak import soak, warmed
from otolith_training.network.cards import make_card
from otolith_training.network.export import export
from otolith_training.network.network import Network, make_network
from tests.training.small import DATA, MOTION, SOUND, motion_recipe, random_scaling, sound_recipe


@pytest.fixture
def words(network: Network, tmp_path: Path) -> Model:
    return export(network, make_card(sound_recipe(), SOUND), [], tmp_path / "words.onnx")


def decisions(truth: str, found: str, *groups: str | None) -> Decisions:
    """One run a group, all as long; a letter a row."""
    letters = "abc"
    item = np.repeat(np.arange(len(groups)), len(truth) // len(groups))
    index = [np.array([letters.index(letter) for letter in text]) for text in (truth, found)]
    return Decisions(index[0], index[1], item, groups)


def test_rows_of_a_subject_are_one_cluster_and_those_of_no_one_their_own() -> None:
    assert decisions("aaaaaa", "aaaaaa", "s1", "s2", "s1").clusters.tolist() == [0, 0, 1, 1, 0, 0]
    assert decisions("aaaaaa", "aaaaaa", None, None, "s1").clusters.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_new_label_is_late_by_the_rows_until_it_is_told() -> None:
    delay = change_delays(decisions("aaaabbbbcc", "aaaaaabbbb", "s1"), frame_rate=10.0)
    assert (delay["changes"], delay["missed"]) == (2, 0.5)
    assert delay["median"] == pytest.approx(0.2)


def test_a_change_is_not_looked_for_over_the_end_of_a_run() -> None:
    assert change_delays(decisions("aabb", "aabb", "s1", "s1"), frame_rate=10.0)["changes"] == 0


def test_runs_are_told_by_subject_with_intervals_and_delay(tmp_path: Path) -> None:
    torch.manual_seed(1)
    recipe = motion_recipe()
    model = export(random_scaling(make_network(recipe)), make_card(recipe, MOTION), [], tmp_path / "motion.onnx")
    figures = figures_of(decide_all(model, recipe, list_runs(recipe, DATA)), model.card)
    assert figures["interval_over"] == {"unit": "subject", "count": 3}
    assert sum(of["rows"] for of in figures["per_group"].values()) == figures["rows"] == 1800
    low, high = figures["accuracy_interval"]
    assert low <= figures["accuracy"] <= high
    assert figures["delay_s"]["changes"] > 3


def test_runs_of_one_label_are_decided_as_wholes_too(tmp_path: Path) -> None:
    torch.manual_seed(1)
    recipe = motion_recipe()
    model = export(random_scaling(make_network(recipe)), make_card(recipe, MOTION), [], tmp_path / "motion.onnx")
    windows = [
        replace(run, values=run.values[at : at + 20], labels=run.labels[at : at + 1] * 20)
        for run in list_runs(recipe, DATA)
        for at in (0, 300)
    ]
    decided = decide_all(model, recipe, windows)
    figures = figures_of(concatenate([decided, decided]), model.card)
    assert (figures["rows"], figures["runs"]["runs"]) == (240, 12)
    assert figures["runs"]["interval_over"] == {"unit": "subject", "count": 3}
    assert sum(map(sum, figures["runs"]["confusion"]["matrix"])) == 12
    assert decide_all(model, recipe, list_runs(recipe, DATA)).whole is None


def test_a_run_is_what_its_second_half_says() -> None:
    posteriors = np.array([[0.9, 0.1]] * 5 + [[0.3, 0.7]] * 4 + [[0.9, 0.1]], np.float32)
    assert decide_run(posteriors) == 1
    assert decide_run(posteriors[:1]) == 0


def test_a_fresh_soak_is_the_plain_test_and_carried_state_is_really_carried(words: Model) -> None:
    recipe = sound_recipe()
    clips = list_clips(recipe, DATA)
    rows = soak(words, recipe, clips, minutes=(0.0, 0.05))
    assert rows[0]["accuracy"] == figures_of(decide_all(words, recipe, clips), words.card)["accuracy"]
    assert rows[0]["difference_interval"] == [0.0, 0.0]
    assert [row["minutes"] for row in rows] == [0.0, 0.05]


def test_a_warmed_stream_has_heard_so_many_minutes_and_a_pause(words: Model) -> None:
    second = np.random.default_rng(0).uniform(-0.3, 0.3, 16000).astype(np.float32)
    ready = list(warmed(words, iter([second] * 10), (0.0, 0.05, 0.1)))
    assert [stream.received for _, stream in ready] == [0, 3 * 16000 + 8000, 6 * 16000 + 8000]
    expected = Stream(words)
    expected.push(np.concatenate([second] * 3 + [np.zeros(8000, np.float32)]))
    a, b = (stream.push(second)[0].values for stream in (ready[1][1], expected))  # type: ignore[union-attr]
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_comparison_is_paired_by_speaker(words: Model) -> None:
    card = words.card
    truth = np.repeat([0, 1], 200)
    groups = tuple(f"s{number}" for number in range(20))
    item = np.tile(np.arange(20), 20)
    hard = np.where(item < 10, truth, 2)  # half of the speakers are understood by neither
    better = np.where((item < 10) | (np.arange(400) // 20 % 5 > 0), hard, truth)  # this one gets a fifth of the others
    one, other = Decisions(truth, better, item, groups), Decisions(truth, hard, item, groups)
    told = compare(one, card, other, card)
    assert told["accuracy"]["difference"] == pytest.approx(0.1)
    low, high = told["accuracy"]["difference_interval"]
    assert 0.02 < low < 0.1 < high < 0.18, "the speakers' own spread, ten times as wide, should cancel"
    assert (told["only_one_right"], told["only_other_right"]) == (40, 0)
