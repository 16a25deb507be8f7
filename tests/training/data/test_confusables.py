"""Phrases that sound alike: what must be among them, and what must never be."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otolith.errors import OtolithError
from otolith_training.data import confusables
from otolith_training.data.confusables import CONSONANTS, VOWELS, distance, fold, pronounce, similar_phrases
from tests.training.data.speaking import know_few_words, needs_engines, only

SOUNDS = st.text(VOWELS + CONSONANTS, max_size=8)


@pytest.fixture
def few_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    know_few_words(monkeypatch, tmp_path)


@needs_engines
@pytest.mark.usefixtures("few_words")
def test_the_parts_the_order_and_the_neighbours_of_a_phrase_are_near_it() -> None:
    found = similar_phrases("hey computer")
    assert found[:3] == ["hey", "computer", "computer hey"]
    assert {"commuter", "hey commuter", "hey composer", "say computer", "pewter"} <= set(found)
    assert not {"table", "window", "hey window", "potato computer"} & set(found)


@needs_engines
@pytest.mark.usefixtures("few_words")
def test_what_sounds_the_same_or_holds_the_phrase_is_not_a_negative() -> None:
    found = similar_phrases("computer")
    assert "commuter" in found
    assert not {"computer", "computers", "minicomputers"} & set(found)
    assert "hay computer" not in similar_phrases("hey computer")


@needs_engines
@pytest.mark.usefixtures("few_words")
def test_pronunciations_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = similar_phrases("computer")
    asked: list[int] = []
    monkeypatch.setattr(confusables, "pronounce", lambda texts: asked.append(len(texts)) or pronounce(texts))
    assert similar_phrases("computer") == first
    assert asked == [2]  # the phrase and its one word


@needs_engines
def test_each_text_has_its_own_pronunciation() -> None:
    assert pronounce(["hey computer", "judge", "it's", "7"]) == ["heɪkəmpjutəɹ", "ʤʌʤ", "ɪts", "sɛvən"]


def test_without_a_word_list_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(confusables, "WORD_LISTS", (tmp_path / "words",))
    with pytest.raises(OtolithError, match=r"apt-get install wamerican-small, or do without them \(--similar 0\)"):
        similar_phrases("computer")


def test_without_espeak_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    only(monkeypatch, tmp_path / "bin")
    with pytest.raises(OtolithError, match=r"apt-get install espeak-ng, or do without them \(--similar 0\)"):
        pronounce(["hello"])


@given(a=SOUNDS, b=SOUNDS)
def test_a_distance_is_the_same_both_ways_and_zero_to_itself(a: str, b: str) -> None:
    assert distance(a, b) == pytest.approx(distance(b, a))
    assert distance(a, a) == 0


@given(a=SOUNDS, b=SOUNDS, before=SOUNDS, after=SOUNDS)
def test_a_part_is_found_anywhere(a: str, b: str, before: str, after: str) -> None:
    assert distance(a, before + a + after, anywhere=True) == 0
    assert distance(a, before + b + after, anywhere=True) <= distance(a, b) + 1e-9


def test_sounds_that_are_mistaken_for_each_other_are_nearer() -> None:
    order = [distance("pæt", other) for other in ("pæt", "pɛt", "bæt", "put", "mæt")]
    assert all(near < far for near, far in pairwise(order))


def test_accents_and_stress_do_not_tell_words_apart() -> None:
    assert fold("kəmpjˈuːɾɚ") == fold("kɐmpjˌuːtɚ") == "kəmpjutəɹ"
    assert fold("(fr)ʒˈe(en-us)") == "ʒe"


def test_only_plain_words_are_taken_of_the_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("Anna\nbee\nbee's\nincomprehensible\nÅngström\ncat\n")
    monkeypatch.setattr(confusables, "WORD_LISTS", (tmp_path / "none", tmp_path / "words"))
    assert confusables._word_list() == ["bee", "cat"]
