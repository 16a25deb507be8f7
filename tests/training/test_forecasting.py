"""Forecasting, whole: a recipe and a meter's rows become a model that beats the naive, as its card and evaluate say."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from otolith.cli.main import otolith
from otolith.errors import OtolithError, SettingsError, UsageError
from otolith.inference.card import Forecast
from otolith.inference.generator import continue_rows
from otolith.inference.model import Model
from otolith.recordings import read_sensor
from otolith_training.crossvalidate import crossvalidate
from otolith_training.data.datasets import Run
from otolith_training.data.series import list_series
from otolith_training.data.spans import SpanComposer
from otolith_training.forecasting import ForecastRehearsal, SeriesCourse
from otolith_training.learner import Learner
from otolith_training.measure.calibrate import calibrate_file
from otolith_training.measure.evaluate import evaluate
from otolith_training.network.forecast_loss import forecast_loss, truth_of
from otolith_training.network.network import make_network
from otolith_training.network.restore import restore
from otolith_training.recipe_file import parse_recipe, read_recipe
from otolith_training.retrain import retrain
from otolith_training.train import train
from tests.training.small import MOTION, changed
from tests.training.small_forecast import FORECAST, forecasting, rhythm, write_meter

RECIPES = Path(__file__).parents[2] / "training" / "otolith_training" / "recipes"


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a meter's six hundred hours."""
    folder = tmp_path_factory.mktemp("data")
    write_meter(folder / "meter", rhythm(600))
    return folder


@pytest.fixture(scope="module")
def trained(meter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file, trained for three steps."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.toml").write_text(FORECAST)
    train(folder / "small.toml", meter, folder / "small.onnx", None, Console(quiet=True))
    return folder / "small.onnx"


def test_it_beats_the_last_value_and_the_season_and_tells_of_each_channel_and_step(trained: Path, meter: Path) -> None:
    figures = evaluate(trained, meter / "meter")
    assert (figures["split"], figures["rows"]) == ("test", 93)  # 100 rows have 93 windows of eight
    assert figures["mse"] < 0.5 * figures["naive"]["mse"]
    assert figures["mse"] < figures["seasonal"]["mse"]
    assert set(figures["per_channel"]) == {"load", "heat"}
    assert np.mean(figures["per_step"]["mse"]) == pytest.approx(figures["mse"])
    assert np.mean([of["mae"] for of in figures["per_channel"].values()]) == pytest.approx(figures["mae"])


def test_its_errors_are_those_of_scaled_values_by_hand(trained: Path, meter: Path) -> None:
    values = rhythm(600)
    scaled = (values - values[:400].mean(axis=0)) / values[:400].std(axis=0)
    naive = [np.square(scaled[at + 1 : at + 9] - scaled[at]).mean() for at in range(499, 592)]
    assert evaluate(trained, meter / "meter")["naive"]["mse"] == pytest.approx(np.mean(naive), rel=0.01)


def test_evaluate_prints_it_and_refuses_what_is_for_labels(trained: Path, meter: Path) -> None:
    result = CliRunner().invoke(otolith, ["evaluate", str(trained), "--data", str(meter / "meter"), "--json"])
    assert json.loads(result.stdout)["seasonal"]["rows"] == 93
    result = CliRunner().invoke(otolith, ["evaluate", str(trained), "--data", str(meter / "meter")])
    assert "8 ahead" in result.stdout
    with pytest.raises(UsageError, match="--soak"):
        evaluate(trained, meter / "meter", soaked=True)


def test_infer_tells_a_forecast_for_every_row_in_the_channels_units(trained: Path, meter: Path) -> None:
    result = CliRunner().invoke(otolith, ["infer", str(trained), str(meter / "meter" / "meter.csv"), "--json"])
    messages = [json.loads(line) for line in result.stdout.splitlines()]
    forecasts = [message for message in messages if message["kind"] == "forecast"]
    assert sum(message["frames"] for message in forecasts) == 600
    assert not [message for message in messages if message["kind"] == "gap"]  # an hour between rows is none
    last = np.array(forecasts[-1]["values"])[-1]
    assert last.shape == (8, 2)
    np.testing.assert_allclose(last.mean(axis=0), [100, 20], atol=25)
    assert len(forecasts[0]["scores"]) == forecasts[0]["frames"]


def test_generate_goes_on_in_the_rhythm_it_learned_and_writes_what_is_read_as_any_recording(
    trained: Path, meter: Path, tmp_path: Path
) -> None:
    arguments = ["generate", str(trained), "--prompt", str(meter / "meter" / "meter.csv"), "--steps", "72"]
    drawn = [CliRunner().invoke(otolith, [*arguments, "--seed", seed]).stdout for seed in ("1", "1", "2")]
    assert drawn[0] == drawn[1] != drawn[2]
    path = tmp_path / "drawn.csv"
    path.write_text(drawn[0])
    rows = read_sensor(path).select(["load", "heat"])
    assert rows.shape == (72, 2)
    true = rhythm(672)[600:]
    assert np.corrcoef(rows[:, 0], true[:, 0])[0, 1] > 0.8
    assert 0.5 < rows[:, 0].std() / true[:, 0].std() < 2


def test_at_a_temperature_of_nothing_each_row_is_the_forecast_of_the_one_before(trained: Path) -> None:
    model, prompt = Model.open(trained), rhythm(50)
    rows = np.stack(list(continue_rows(model, prompt, 4, 0.0, seed=1)))
    for number, row in enumerate(rows):
        forecasts, _ = model.step(np.concatenate((prompt, rows[:number]))[None], model.fresh_state())
        np.testing.assert_allclose(row, forecasts[0, -1, 0], atol=1e-3)
    assert np.isfinite(next(iter(continue_rows(model, prompt[:0], 1, 1.0, seed=1)))).all()


def test_a_model_that_was_never_measured_is_drawn_from_without_errors_alone(tmp_path: Path) -> None:
    model = forecasting(tmp_path / "f.onnx")
    assert len(list(continue_rows(model, rhythm(5), 3, 0.0, seed=1))) == 3
    with pytest.raises(UsageError, match="ask for --temperature 0"):
        next(iter(continue_rows(model, rhythm(5), 3, 1.0, seed=1)))


def test_the_card_tells_horizon_scale_and_figures(trained: Path) -> None:
    card = Model.open(trained).card
    assert isinstance(card.forecast, Forecast)
    np.testing.assert_allclose(card.forecast.scale, rhythm(600)[:400].std(axis=0, ddof=1), rtol=1e-4)
    assert card.metrics["test"]["mse"] < card.metrics["test"]["naive_mse"]
    assert "the 8 rows that follow, and anomalies" in trained.with_suffix(".md").read_text()


def test_without_epochs_it_is_the_linear_path_alone(meter: Path, tmp_path: Path) -> None:
    text = changed(FORECAST, {"epochs": "0", "rows": "{ train = [0, 500], test = [500, 600] }"})
    (tmp_path / "small.toml").write_text(text)
    model = train(tmp_path / "small.toml", meter, tmp_path / "small.onnx", None, Console(quiet=True))
    assert model.card.metrics["epochs"] == 0
    assert evaluate(tmp_path / "small.onnx", meter / "meter")["mse"] < 0.1


def test_the_recurrent_part_learns_what_the_linear_path_leaves(meter: Path) -> None:
    text = changed(FORECAST, {"look_back": "2", "epochs": "10", "steps_per_epoch": "15", "batch": "8"})
    recipe = parse_recipe(text, "small")
    course = SeriesCourse(recipe, list_series(recipe, meter))
    torch.manual_seed(1)
    network = make_network(recipe)
    course.prepare(network)
    learner, composer = Learner(network, recipe), course.streams(1)
    before = course.rehearsal(learner.averaged)["mse"]
    for _ in range(150):
        learner.learn(composer.next())
    assert course.rehearsal(learner.averaged)["mse"] < 0.8 * before


def test_a_relative_error_of_one_is_that_of_the_linear_path(meter: Path) -> None:
    recipe = parse_recipe(changed(FORECAST, {"stride": "2\nrelative = true"}), "small")
    course = SeriesCourse(recipe, list_series(recipe, meter))
    network = make_network(recipe)
    course.prepare(network)
    composer = course.streams(1)
    chunk = [composer.next() for _ in range(2)][-1]  # the first lies within the look-back, and counts nothing
    rows = network.frontend.scaled(torch.from_numpy(chunk.frames))
    loss, _ = forecast_loss(network, rows, network.fresh_state(len(rows)), chunk, share=0.0)
    assert float(loss.detach()) == pytest.approx(1.0, abs=1e-5)


def test_a_held_out_part_has_the_rows_before_it_to_look_back_on(meter: Path) -> None:
    train_part, dev, test = list_series(parse_recipe(FORECAST, "small"), meter)
    assert [(run.split, run.history, len(run.values)) for run in (train_part, dev, test)] == [
        ("train", 0, 400), ("dev", 400, 500), ("test", 500, 600),
    ]  # fmt: skip
    np.testing.assert_allclose(test.values[test.history :], rhythm(600)[500:], rtol=1e-6)


def test_a_recipe_s_rows_must_be_in_the_file(meter: Path) -> None:
    text = changed(FORECAST, {"rows": "{ train = [0, 400], dev = [400, 601] }"})
    with pytest.raises(OtolithError, match=r"has 600 rows; data\.rows\.dev of the recipe ends at 601"):
        list_series(parse_recipe(text, "small"), meter)


def test_dates_are_read_as_they_lie_packed_or_not(meter: Path, tmp_path: Path) -> None:
    (tmp_path / "meter").mkdir()
    packed = gzip.compress((meter / "meter" / "meter.csv").read_bytes())
    (tmp_path / "meter" / "meter.csv.gz").write_bytes(packed)
    recipe = parse_recipe(FORECAST, "small")
    for a, b in zip(list_series(recipe, meter), list_series(recipe, tmp_path), strict=True):
        np.testing.assert_array_equal(a.values, b.values)


def test_spans_go_on_through_their_series_and_know_what_comes() -> None:
    values = np.arange(500, dtype=np.float32)[:, None]
    run = Run("a", Path("a"), values, (), None, "train")
    settings = {"look_back": 10, "horizon": 4, "streams": 3, "frames": 20, "fresh_start": 0.2, "seed": 0}
    composer, twin = SpanComposer([run], **settings), SpanComposer([run], **settings)
    before = None
    for _ in range(50):
        chunk, again = composer.next(), twin.next()
        np.testing.assert_array_equal(chunk.frames, again.frames)
        assert chunk.ahead is not None
        assert chunk.counted is not None
        np.testing.assert_array_equal(chunk.ahead[:, :, 0], chunk.frames[:, -1:, 0] + np.arange(1, 5))
        for stream in range(3):
            if before is not None and not chunk.fresh[stream]:
                assert chunk.frames[stream, 0, 0] == before[stream, -1, 0] + 1
                assert chunk.counted[stream].all()
            elif chunk.frames[stream, 0, 0] > 0:
                assert np.flatnonzero(chunk.counted[stream])[0] == 9  # until then the look-back is not its own
        before = chunk.frames


def test_series_that_are_too_short_are_refused() -> None:
    with pytest.raises(OtolithError, match="24 rows are needed"):
        SpanComposer([], look_back=10, horizon=4, streams=1, frames=20, fresh_start=0, seed=0)


def test_the_truth_behind_each_row_is_the_rows_that_follow_it() -> None:
    rows = torch.arange(5.0)[None, :, None]
    truth = truth_of(rows, torch.arange(5.0, 8.0)[None, :, None], 3)
    assert truth[0, :, :, 0].tolist() == [[1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6], [5, 6, 7]]


def test_the_rehearsal_counts_what_evaluate_counts(meter: Path, trained: Path) -> None:
    recipe = parse_recipe(FORECAST, "small")
    test = [run for run in list_series(recipe, meter) if run.split == "test"]
    metrics = ForecastRehearsal(test, 8)(restore(trained, recipe))
    assert metrics["mse"] == pytest.approx(evaluate(trained, meter / "meter")["mse"], rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"stride": "3"}, "forecast.stride: 3; the horizon, 8 rows, must be whole strides"),
        ({"teacher_forcing": "[1.5, 0.0]"}, "forecast.teacher_forcing: 1.5; between 0 and 1"),
        ({"lead": "9"}, "anomaly.lead is 9; it must lie between 1 and the horizon, 8"),
        ({"rows": "{ train = [0, 400], dev = [300, 500] }"}, "data.rows: parts overlap"),
        ({"rows": "{ train = [0, 400] }"}, "data.rows.dev: is missing"),
        ({"type": '"runs"'}, "streams.type: does not fit data.kind 'sensor' and task 'forecast'; that takes spans"),
        ({"name": '"x"\nlabels = ["a"]'}, "data.labels: a forecast tells no labels"),
    ],
)
def test_faults_of_a_recipe_are_found_at_the_door(changes: dict[str, str], fault: str) -> None:
    text = FORECAST.replace("hidden = 5", "hidden = 5\nteacher_forcing = [1.0, 0.0]")
    if "type" in changes:
        text = text.replace('[streams]\ntype = "spans"', '[streams]\ntype = "runs"')
        changes = {}
    if "name" in changes:
        text, changes = text.replace('licence = "none"', 'licence = "none"\nlabels = ["a"]'), {}
    with pytest.raises(SettingsError) as error:
        parse_recipe(changed(text, changes), "small.toml")
    assert fault in str(error.value)


def test_what_is_for_forecasts_is_refused_elsewhere() -> None:
    with pytest.raises(SettingsError, match="forecast: is for rows that are forecast"):
        parse_recipe(MOTION + "\n[forecast]\nhorizon = 3\n", "motion.toml")
    start, end = FORECAST.index("[forecast]"), FORECAST.index("[anomaly]")
    with pytest.raises(SettingsError, match="forecast: is missing"):
        parse_recipe(FORECAST[:start] + FORECAST[end:], "x")


def test_what_deals_with_labels_refuses_a_forecast_at_the_door(trained: Path, meter: Path, tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    with pytest.raises(SettingsError, match="otolith retrain is for task tag, and this is forecast"):
        retrain(trained, meter, meter, None, False, quiet)
    (tmp_path / "small.toml").write_text(FORECAST)
    with pytest.raises(SettingsError, match="otolith crossvalidate is for task tag and classify, and this is forecast"):
        crossvalidate(tmp_path / "small.toml", meter, tmp_path / "folds", None, False, None, quiet)
    with pytest.raises(OtolithError, match=r"is for models that tag, .* of task forecast; .*detector\.anomaly"):
        calibrate_file(trained, [tmp_path / "no such recording.csv"], 1.0)


@pytest.mark.parametrize("name", ["ett_24", "ett_96", "motion_forecast", "nab"])
def test_the_worked_recipes_are_whole(name: str) -> None:
    recipe, _ = read_recipe(RECIPES / f"{name}.toml")
    assert recipe.task == "forecast"
