"""A model: what it refuses when it opens, and what a step promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otolith.errors import ModelError
from otolith.inference.model import Model
from tests.tiny import HOP_LENGTH, tiny_card, tiny_graph, with_card, write_card


def write_with(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A tiny model whose card was changed by hand."""
    graph = tiny_graph(HOP_LENGTH, 3)
    card = json.loads(write_card(tiny_card(graph, "audio")))
    change(card)
    path.write_bytes(with_card(graph, json.dumps(card)))
    return path


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda card: card.pop("labels"), "the card is not whole: Object missing required field `labels`"),
        (lambda card: card.update(sample_rate="fast"), "the card is not whole: .*sample_rate"),
        (lambda card: card.update(format=9), "format is 9"),
        (lambda card: card.update(kind="video"), "the card is not whole: .*kind"),
        (lambda card: card.update(kind="token"), "kind is token, and tokens is missing"),
        (lambda card: card.update(task="classify"), "task is classify, and utterance is missing"),
        (lambda card: card.update(labels=["yes", "yes", "no"]), "labels must be named, each once"),
        (lambda card: card.update(background="silence"), "background 'silence' is none of the labels"),
        (lambda card: card.update(hop_length=0), "hop_length 0"),
        (lambda card: card.update(full_scale=0), "full_scale is 0"),
        (lambda card: card.update(full_scale="16 g"), "the card is not whole: .*full_scale"),
        (lambda card: card.update(hop_length=160), "input 'frames' should be float32"),
        (lambda card: card["detector"]["yes"].update(threshold=0), r"detector\.yes: threshold is 0"),
        (lambda card: card["detector"]["yes"].update(release=0.9), r"detector\.yes: release is 0\.9"),
        (lambda card: card["detector"].update(maybe=card["detector"]["yes"]), "maybe, which are not labels"),
        (lambda card: card["proof"]["posteriors"].pop(), "15 rows for 16 frames"),
        (lambda card: card["proof"]["posteriors"][7].reverse(), "fails its proof: frame 7"),
        (lambda card: card["proof"].update(seed=2), "fails its proof"),
        (lambda card: card["labels"].append("maybe"), "rows are not as long as the labels"),
    ],
)
def test_a_card_that_is_not_kept_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    path = write_with(tmp_path / "model.onnx", change)
    with pytest.raises(ModelError, match=why) as caught:
        Model.open(path)
    assert str(caught.value).startswith(str(path))


def test_a_card_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(with_card(tiny_graph(HOP_LENGTH, 3), "{not json"))
    with pytest.raises(ModelError, match="the card is not JSON"):
        Model.open(path)


def test_a_field_added_by_a_later_release_is_skipped(tmp_path: Path) -> None:
    assert (
        Model.open(write_with(tmp_path / "model.onnx", lambda card: card.update(mood="good"))).card.name == "tiny-audio"
    )


def test_a_step_leaves_the_state_it_was_given_as_it_was(tiny_audio: Model) -> None:
    state = tiny_audio.fresh_state()
    _, following = tiny_audio.step(np.ones((1, 3, HOP_LENGTH), np.float32), state)
    assert not state["state.hidden"].any()
    assert following["state.hidden"].any()


def test_posteriors_are_probabilities(tiny_audio: Model) -> None:
    frames = np.random.default_rng(0).standard_normal((5, 7, HOP_LENGTH)).astype(np.float32)
    posteriors, state = tiny_audio.step(frames, tiny_audio.fresh_state(5))
    assert posteriors.shape == (5, 7, 3)
    np.testing.assert_allclose(posteriors.sum(axis=-1), 1, atol=1e-5)
    assert state["state.hidden"].shape == (5, 4)


def test_the_identity_names_the_very_file(tiny_audio: Model, tiny_sensor: Model) -> None:
    name, _, digest = tiny_audio.identity.partition("@")
    assert name == "tiny-audio"
    assert len(digest) == 12
    assert digest != tiny_sensor.identity.partition("@")[2]
