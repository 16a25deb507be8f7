"""The laws, on a model that forecasts and watches: 1 chunking, 2 company, 3 causality, 4 agreement, 5, 6."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from otolith import Subscriber
from otolith.inference.engine import Engine
from otolith.inference.events import Anomaly, Event, Forecasts, Gap
from otolith.inference.model import Model
from otolith.inference.stream import Stream
from otolith.wire.messages import ForecastMessage
from otolith_training.network.export import run_stepped, run_torch
from otolith_training.network.restore import restore
from otolith_training.recipe_file import parse_recipe
from tests.processes import DaemonProcess
from tests.training.small_forecast import forecasting, rhythm, write_meter

Floats = NDArray[np.float32]
ROWS = 300


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return forecasting(tmp_path_factory.mktemp("forecast") / "f.onnx", threshold=0.15)


@pytest.fixture(scope="module")
def rows() -> Floats:
    """A rhythm that twice leaves it for a while."""
    values = rhythm(ROWS)
    values[120:130] += 40
    values[220:224] -= 60
    return values


def outputs_of(events: list[Event]) -> tuple[Floats, Floats]:
    told = [event for event in events if isinstance(event, Forecasts)]
    scores = [event.scores for event in told if event.scores is not None]
    return np.concatenate([event.values for event in told]), np.concatenate(scores)


def anomalies_of(events: list[Event]) -> list[tuple[object, ...]]:
    found = [event for event in events if isinstance(event, Anomaly)]
    return [(a.id, a.phase, a.position, a.onset, round(a.score, 3)) for a in found]


def pushed(model: Model, blocks: list[Floats]) -> list[Event]:
    stream = Stream(model)
    return [event for block in blocks for event in stream.push(block)]


@pytest.fixture(scope="module")
def whole(model: Model, rows: Floats) -> list[Event]:
    events = pushed(model, [rows])
    assert {phase for _, phase, *_ in anomalies_of(events)} == {"start", "end"}
    return events


@given(cuts=st.lists(st.integers(0, ROWS), max_size=20))
@settings(max_examples=12, deadline=None)
def test_law_1_chunking_any_cutting_gives_the_same_forecasts_scores_and_anomalies(
    model: Model, rows: Floats, whole: list[Event], cuts: list[int]
) -> None:
    found = pushed(model, [rows[a:b] for a, b in pairwise([0, *sorted(cuts), ROWS])])
    for told, expected in zip(outputs_of(found), outputs_of(whole), strict=True):
        np.testing.assert_allclose(told, expected, rtol=1e-5, atol=1e-3)
    assert anomalies_of(found) == anomalies_of(whole)


@given(data=st.data(), frames_per_step=st.integers(1, 5), largest_batch=st.integers(1, 4))
@settings(max_examples=8, deadline=None)
def test_law_2_company_changes_nothing(
    model: Model, rows: Floats, data: st.DataObject, frames_per_step: int, largest_batch: int
) -> None:
    engine, alone = Engine(model, frames_per_step, largest_batch), [Stream(model) for _ in range(4)]
    seats = [engine.add() for _ in alone]
    found: list[list[Event]] = [[] for _ in alone]
    expected: list[list[Event]] = [[] for _ in alone]
    for block in np.array_split(rows, 8):
        for number, (seat, stream) in enumerate(zip(seats, alone, strict=True)):
            fate = data.draw(st.sampled_from(["come", "come", "come", "stay", "poisoned"]))
            mine = block * np.float32(number + 1)
            if fate == "poisoned":
                mine[0, 0] = np.nan
            if fate != "stay":
                found[number] += seat.push(mine)
                expected[number] += stream.push(mine)
        for seat, events in engine.step():
            found[seats.index(seat)] += events
    for number, (seat, stream) in enumerate(zip(seats, alone, strict=True)):
        found[number] += seat.close()
        expected[number] += stream.close()
        if any(isinstance(event, Forecasts) for event in expected[number]):
            for told, held in zip(outputs_of(found[number]), outputs_of(expected[number]), strict=True):
                np.testing.assert_allclose(told, held, rtol=1e-4, atol=1e-2)
        assert anomalies_of(found[number]) == anomalies_of(expected[number])


@given(change_at=st.integers(0, ROWS - 1))
@settings(max_examples=10, deadline=None)
def test_law_3_causality_later_rows_change_nothing_earlier(
    model: Model, rows: Floats, whole: list[Event], change_at: int
) -> None:
    changed = rows.copy()
    changed[change_at:] = -1000
    for told, expected in zip(outputs_of(pushed(model, [changed])), outputs_of(whole), strict=True):
        np.testing.assert_allclose(told[:change_at], expected[:change_at], rtol=1e-5, atol=1e-3)


def test_law_4_agreement_from_torch_to_a_subscriber(tmp_path: Path, endpoint: str, rows: Floats) -> None:
    path = tmp_path / "f.onnx"
    model = forecasting(path)
    meter = write_meter(tmp_path / "meter", rows)
    expected = run_torch(restore(path, parse_recipe(model.card.recipe, "card")).eval(), rows)
    scale = np.array([14.0, 3.5])
    assert (np.abs(model.step(rows[None], model.fresh_state())[0][0] - expected) / scale).max() < 1e-4
    assert (np.abs(run_stepped(model, rows) - expected) / scale).max() < 1e-4
    stream = f'name = "meter"\nmodel = "{path}"\nsource = "recording:{meter}?pace=none"\nposteriors_per_s = 1000'
    (tmp_path / "otolith.toml").write_text(f'publish = "{endpoint}"\n[[stream]]\n{stream}\n')
    messages: list[ForecastMessage] = []
    with Subscriber(endpoint) as subscriber, DaemonProcess(str(tmp_path / "otolith.toml")) as daemon:
        while (message := subscriber.receive(30 if not messages else 2)) is not None:
            messages += [message] if isinstance(message, ForecastMessage) else []
        assert daemon.wait()[0] == 0
    assert messages, "the subscriber came too late to hear any"
    for message in messages:
        at = slice(message.position - message.frames, message.position)
        assert (np.abs(message.array() - expected[at]) / scale).max() < 1e-4


@given(data=st.data(), cuts=st.lists(st.integers(0, ROWS), max_size=10))
@settings(max_examples=15, deadline=None)
def test_law_5_accounting_every_row_has_its_forecast_or_is_in_a_gap(
    model: Model, rows: Floats, data: st.DataObject, cuts: list[int]
) -> None:
    stream, events = Stream(model), []
    for a, b in pairwise([0, *sorted(cuts), ROWS]):
        missing = data.draw(st.booleans())
        events += stream.gap(b - a, "missing") if missing else stream.push(rows[a:b])
    events += stream.close()
    told = sum(len(event.values) for event in events if isinstance(event, Forecasts))
    assert told + sum(event.lost for event in events if isinstance(event, Gap)) == ROWS
    phases = [phase for _, phase, *_ in anomalies_of(events)]
    assert phases.count("start") == phases.count("end")


@given(gap_at=st.integers(1, ROWS - 1))
@settings(max_examples=10, deadline=None)
def test_law_6_fresh_start_behind_a_gap_nothing_is_left_of_before(model: Model, rows: Floats, gap_at: int) -> None:
    stream = Stream(model)
    stream.push(rows[:gap_at])
    stream.gap(7, "unplugged")
    for told, expected in zip(outputs_of(stream.push(rows)), outputs_of(pushed(model, [rows])), strict=True):
        np.testing.assert_array_equal(told, expected)
