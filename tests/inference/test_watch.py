"""The watch: scores are tails of the stream's own errors, however rows are cut and whoever is stepped beside."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from otolith.errors import ModelError
from otolith.inference.card import ANOMALY, Anomaly, Card, Channel, Forecast, Proof, Trigger
from otolith.inference.card_text import write_card
from otolith.inference.watch import Watch
from tests.tiny import tiny_card, tiny_graph

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def card() -> Card:
    """A promise of three rows ahead of one channel, with errors judged over a short past."""
    tiny = tiny_card(tiny_graph(6, 2), "sensor")
    return msgspec.structs.replace(
        tiny,
        task="forecast",
        labels=[],
        channels=[Channel("load", "kW")],
        detector={ANOMALY: Trigger(0.3, 0.1, 0.0, 0.0)},
        forecast=Forecast(3, [1.0]),
        anomaly=Anomaly(lead=2, smoothing_rows=1.0, memory_rows=1e9, warm_up_rows=20),
        proof=Proof(1, 1, 1.0, [[0.0] * 3]),
    )


def scores_of(card: Card, values: Floats, cuts: tuple[int, ...] = ()) -> Floats:
    """Scores of rows that are always forecast to be 0."""
    watch = Watch(card)
    watch.grow(1)
    parts = np.split(values[None, :, None], cuts, axis=1)
    return np.concatenate(
        [watch.push(slice(0, 1), part, np.zeros((1, part.shape[1], 3, 1), np.float32))[0] for part in parts]
    )


def noise(rows: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=rows).astype(np.float32)


def test_a_score_is_the_decimal_logarithm_of_how_unlikely_a_row_is(card: Card) -> None:
    values = noise(2000)
    values[1500] = 5.0
    deviation, mean = values[2:1500].std(), values[2:1500].mean()
    expected = -math.log10(math.erfc((5.0 - mean) / deviation / math.sqrt(2))) / 10
    assert scores_of(card, values)[1500] == pytest.approx(expected, abs=0.005)


def test_noise_of_any_size_passes_a_score_as_often_as_it_should(card: Card) -> None:
    for size in (1e-2, 1e6):
        scores = scores_of(card, noise(20_000, 3) * np.float32(size))
        assert (scores[1000:] > 0.2).mean() == pytest.approx(0.01, rel=0.3)


def test_nothing_is_said_while_it_warms_up(card: Card) -> None:
    values = noise(100)
    values[21], values[22] = 100, 1000  # 20 errors, the first of row 2, before row 22 is judged
    scores = scores_of(card, values)
    assert not scores[:22].any()
    assert scores[22] == 1


def test_rows_that_never_move_alarm_at_no_dust(card: Card) -> None:
    values = np.zeros(500, np.float32)
    values[300:] = 1e-4  # of a scale of 1
    assert scores_of(card, values).max() < 0.01


def test_a_row_is_held_against_the_forecast_made_lead_rows_before(card: Card) -> None:
    watch = Watch(msgspec.structs.replace(card, anomaly=Anomaly(2, 1.0, 1e9, 5)))
    watch.grow(1)
    values = np.arange(100, dtype=np.float32)[None, :, None]
    ahead = values[:, :, None] + np.arange(1, 4, dtype=np.float32)[None, None, :, None]  # what will come
    assert not watch.push(slice(0, 1), values, ahead).any()


def test_cutting_changes_nothing(card: Card) -> None:
    values = noise(300)
    np.testing.assert_array_equal(scores_of(card, values, (1, 2, 50, 51, 299)), scores_of(card, values))


def test_company_changes_nothing_and_a_row_begun_again_remembers_nothing(card: Card) -> None:
    watch = Watch(card)
    watch.grow(4)
    streams = np.stack([noise(300, seed) for seed in range(3)])
    rows = np.array([3, 0, 2])
    zeros = np.zeros((3, 300, 3, 1), np.float32)
    for _ in range(2):
        found = watch.push(rows, streams[:, :, None], zeros)
        np.testing.assert_array_equal(found, [scores_of(card, stream) for stream in streams])
        for row in rows.tolist():
            watch.begin(row)


def test_several_channels_are_as_unlikely_as_the_unlikeliest_allows(card: Card) -> None:
    wide = msgspec.structs.replace(
        card, channels=[Channel(str(n), "1") for n in range(10)], forecast=Forecast(3, [1.0] * 10)
    )
    watch = Watch(wide)
    watch.grow(1)
    values = np.random.default_rng(0).normal(size=(1, 20_000, 10)).astype(np.float32)
    scores = watch.push(slice(0, 1), values, np.zeros((1, 20_000, 3, 10), np.float32))
    assert (scores[0, 1000:] > 0.2).mean() == pytest.approx(0.01, rel=0.3)


def test_a_card_that_watches_what_it_does_not_forecast_is_refused(card: Card) -> None:
    with pytest.raises(ModelError, match="lead is 4"):
        write_card(msgspec.structs.replace(card, anomaly=Anomaly(4, 1.0, 10.0, 5)))
    with pytest.raises(ModelError, match=r"detector\.anomaly is missing"):
        write_card(msgspec.structs.replace(card, detector={}))
    labelled = msgspec.structs.replace(card, labels=["a"], anomaly=msgspec.UNSET, forecast=msgspec.UNSET, detector={})
    with pytest.raises(ModelError, match="forecast is missing"):
        write_card(msgspec.structs.replace(labelled, proof=Proof(1, 1, 1.0, [[1.0]])))
