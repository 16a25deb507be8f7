"""The tokenizer: how a line becomes tokens, and tokens text."""

from __future__ import annotations

import pytest

from otolith.inference.card import Cut, Tokens
from otolith.inference.tokenizer import END, Tokenizer


def tokenizer(cut: Cut, *vocabulary: str, end: str | None = None, lower: bool = False) -> Tokenizer:
    return Tokenizer(Tokens(cut, lower, ["<unknown>", *vocabulary], "<unknown>", end))


def test_words_are_cut_at_white_space_and_unknown_ones_are_told_as_one() -> None:
    assert tokenizer("words", "a", "film").encode("a  dull\tfilm \n").tolist() == [1, 0, 2]


def test_characters_are_what_they_are_and_lines_end_with_a_token_of_their_own() -> None:
    assert tokenizer("characters", "a", " ", END, end=END).encode("a a\n").tolist() == [1, 2, 1, 3]


def test_upper_and_lower_case_are_one_where_the_card_says_so() -> None:
    assert tokenizer("words", "film", lower=True).encode("FILM").tolist() == [1]


def test_a_code_a_line_and_an_empty_line_ends_an_utterance() -> None:
    codes = tokenizer("lines", "door open", "door shut", END, end=END)
    assert [codes.encode(line).tolist() for line in ("door open", "door shut", "")] == [[1], [2], [3]]
    assert [codes.ends(line) for line in ("door open", "")] == [False, True]


@pytest.mark.parametrize(
    ("cut", "text"), [("words", "a film\na film"), ("characters", "a film\n a"), ("lines", "a\nfilm\n\na\n")]
)
def test_text_of_known_tokens_comes_back(cut: Cut, text: str) -> None:
    of = tokenizer(cut, "a", "film", *sorted(set("filma ") - {"a"}), END, end=END)
    lines = text.split("\n")
    ids = [number for line in lines for number in of.encode(line).tolist()][:-1]  # the last line does not end
    assert "".join(of.decode(ids)) == text
