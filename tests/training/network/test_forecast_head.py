"""The forecasting head: the graph's one node says what the loop in torch says, and teacher forcing has its extremes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from otolith_training.network.cards import make_card
from otolith_training.network.export import export, run_torch
from otolith_training.network.forecast_loss import teacher_share
from otolith_training.network.heads.forecast import ForecastHead
from otolith_training.network.restore import restore
from otolith_training.recipe import Forecast
from otolith_training.recipe_file import parse_recipe
from tests.training.small import changed
from tests.training.small_forecast import FORECAST, forecast_network, forecasting, rhythm


@pytest.mark.parametrize(("horizon", "stride"), [(8, 1), (8, 2), (8, 8), (1, 1)])
def test_the_file_says_what_the_network_says_and_becomes_it_again(tmp_path: Path, horizon: int, stride: int) -> None:
    text = changed(FORECAST, {"horizon": str(horizon), "stride": str(stride), "lead": "1"})
    forecasting(tmp_path / "f.onnx", text)
    again = restore(tmp_path / "f.onnx", parse_recipe(text, "f")).eval()
    expected = run_torch(forecast_network(text).eval(), rhythm(50))
    assert expected.shape == (50, horizon, 2)
    np.testing.assert_allclose(run_torch(again, rhythm(50)), expected, rtol=1e-5)


def test_the_whole_horizon_is_one_recurrent_node(tmp_path: Path) -> None:
    forecasting(tmp_path / "f.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "f.onnx").graph.node]
    assert operators.count("LSTM") == operators.count("GRU") == operators.count("Conv") == 1


def test_a_decoder_that_was_never_taught_is_left_out_of_the_file(tmp_path: Path) -> None:
    network = forecast_network()
    head = network.head
    assert isinstance(head, ForecastHead)
    torch.nn.init.zeros_(head.told.weight)
    torch.nn.init.zeros_(head.told.bias)
    recipe = parse_recipe(FORECAST, "f")
    export(network, make_card(recipe, FORECAST), [rhythm(100)], tmp_path / "f.onnx")
    assert "LSTM" not in [node.op_type for node in onnx.load(tmp_path / "f.onnx").graph.node]
    again = restore(tmp_path / "f.onnx", recipe).eval()
    np.testing.assert_allclose(run_torch(again, rhythm(50)), run_torch(network.eval(), rhythm(50)), rtol=1e-5)


def test_before_the_first_row_it_is_as_if_that_had_always_been() -> None:
    network = forecast_network().eval()
    always = np.repeat(rhythm(1), 200, axis=0)
    head = network.head
    assert isinstance(head, ForecastHead)
    with torch.no_grad():
        head.told.weight.zero_()  # only the linear path looks back
    said = run_torch(network, always)
    np.testing.assert_allclose(said[0], said[-1], rtol=1e-5)


def test_it_begins_as_the_linear_path_alone() -> None:
    head = ForecastHead(3, 2, Forecast(horizon=4, look_back=5))
    x = torch.randn(1, 6, 5)
    straight, _ = head.straight(x, head.fresh_state(1))
    torch.testing.assert_close(head(x, head.fresh_state(1))[0], straight)
    torch.testing.assert_close(straight[0, :, 3], x[0, :, 3:])  # which says the last row again until it is fitted


def by_hand(head: ForecastHead, x: Tensor, straight: Tensor, fed: list[Tensor] | None) -> Tensor:
    """One frame's forecasts, step by step; `fed` are the rows that the decoder is fed, or it is fed its own."""
    last = x[0, 0, -head.channels :]
    hidden, cell = head.first(x[0, 0, : -head.channels]).chunk(2)
    hidden, given, said = torch.tanh(hidden), torch.zeros(head.channels), []
    for step in range(head.horizon):
        hidden, cell = head.decoder(given, (hidden, cell))
        said.append(straight[0, 0, step] + head.told(hidden))
        given = (said[-1] if fed is None else fed[step]) - last
    return torch.stack(said)


def test_teacher_forcing_of_all_and_of_nothing_are_the_two_extremes() -> None:
    head = forecast_network(changed(FORECAST, {"stride": "1"})).head
    assert isinstance(head, ForecastHead)
    x, truth = torch.randn(1, 1, 8), torch.randn(1, 1, 8, 2)
    straight, _ = head.straight(x, head.fresh_state(1))
    all_true, none_true = torch.ones(1, 1, 8, dtype=torch.bool), torch.zeros(1, 1, 8, dtype=torch.bool)
    forced = head.unroll(x, straight, truth, all_true)[0, 0]
    free = head.unroll(x, straight, truth, none_true)[0, 0]
    torch.testing.assert_close(forced, by_hand(head, x, straight, list(truth[0, 0])))
    torch.testing.assert_close(free, by_hand(head, x, straight, None))
    torch.testing.assert_close(free, head(x, head.fresh_state(1))[0][0, 0])  # as it is in use
    assert not torch.allclose(forced, free)


def test_the_share_of_teacher_forcing_goes_in_a_straight_line() -> None:
    settings = Forecast(horizon=1, teacher_forcing=(1.0, 0.2))
    assert [teacher_share(settings, done) for done in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.6, 0.2])
