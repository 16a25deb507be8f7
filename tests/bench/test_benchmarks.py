"""What measures must be right too: who hears what, what a median is of, where a search ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from itertools import islice
from pathlib import Path

import pytest

from tests.conftest import ROOT

BENCH = ROOT / "bench"


@pytest.fixture(autouse=True)
def bench_on_the_path() -> Generator[None]:
    """Scripts of `bench/` find each other by bare names; nothing of that is left behind."""
    known = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        yield
    for name in set(sys.modules) - known:
        if str(BENCH) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_streams_of_a_contest_hear_different_places_and_every_chunk() -> None:
    from peers.contest import ROUNDS, cut

    sound = bytes(range(100)) * 2
    rounds = list(islice(cut(sound, 2, 3), ROUNDS))
    assert [streams[0] for streams in rounds] == [sound[2 * at : 2 * at + 2] for at in range(ROUNDS)]
    assert all(len(set(streams)) == 3 for streams in rounds)


@pytest.mark.parametrize("module", ["ours", "window"])
def test_a_contestant_tells_what_a_second_of_sound_costs(module: str, tmp_path: Path) -> None:
    (tmp_path / "sound.raw").write_bytes(bytes(2 * 16000))
    model = ROOT / "exported_models" / "words.onnx"
    command = [sys.executable, "-m", f"peers.{module}", tmp_path / "sound.raw", "2", "0.01", model, "4"]
    told = json.loads(subprocess.run(command, cwd=BENCH, check=True, capture_output=True).stdout)
    assert told["chunk_ms"] == 80
    assert 0 < told["cpu_s_per_s"] < 1
    assert told["resident_mb"] > 10


@pytest.mark.parametrize("fits", [0, 250, 251, 777, 1000, 7999, 9000])
def test_the_search_ends_within_5_percent_below_what_fits(fits: int) -> None:
    from paced import largest

    found = largest(lambda streams: streams <= fits, 250, 8000)
    assert found <= fits
    assert min(fits, 8000) < max(1.06 * found, 250)


def test_the_second_model_of_a_swap_is_another_file_that_says_the_same(tmp_path: Path) -> None:
    from otolith.inference.model import Model
    from swap import two_models

    first, second = (Model.load(content, "a model") for content in two_models(tmp_path))
    assert first.digest != second.digest
    assert first.card == second.card


def test_a_pause_is_what_a_message_came_later_by_than_is_usual_for_its_stream() -> None:
    from swap import Ear

    ear = Ear(640, streams=["a", "b"] * 3, behind_s=[0.01, 0.5, 0.01, 0.5, 0.04, 0.49])
    assert ear.pauses_s().round(6).tolist() == [0, 0, 0, 0, 0.03, -0.01]


def test_a_figure_is_the_median_with_its_range() -> None:
    from report import Figure

    assert str(Figure.of([0.0012, 0.0031, 0.0005])) == "0.00120 (0.000500 to 0.00310)"
    assert str(Figure.of([2345.0])) == "2,345"


def test_the_random_embedding_has_the_shape_it_stands_for(tmp_path: Path) -> None:
    import numpy as np
    import onnx

    from otolith.inference.runtime import open_session
    from shapes import make_openwakeword

    make_openwakeword(tmp_path)
    embedding = open_session((tmp_path / "embedding.onnx").read_bytes())
    values = embedding.run(None, {"input_1": np.ones((1, 76, 32, 1), np.float32)})[0]
    assert values.shape == (1, 1, 1, 96)
    weights = sum(np.prod(each.dims) for each in onnx.load(tmp_path / "embedding.onnx").graph.initializer)
    assert 320_000 < weights < 340_000
    mel = open_session((tmp_path / "melspectrogram.onnx").read_bytes())
    assert mel.run(None, {"input": np.ones((1, 1760), np.float32)})[0].shape == (1, 1, 8, 32)
