"""Text as a user brings it: its layouts, its splits and its vocabulary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otolith.errors import OtolithError
from otolith_training.data.datasets import Line
from otolith_training.data.texts import read_passages, read_texts, split_lines, with_vocabulary
from otolith_training.data.vectors import vectors_of
from otolith_training.recipe import Tokens
from otolith_training.recipe_file import parse_recipe
from tests.training.small import LANGUAGE, SENTENCES, write_sentences


def test_a_file_a_label_and_a_folder_a_label_are_the_same(tmp_path: Path) -> None:
    for place in ("pos.txt", "neg.txt", "folders/pos/a.txt", "folders/neg/b.txt"):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("one  line\n\nanother\n")
    files = read_texts(tmp_path / "folders", "words")
    assert [(line.label, line.lines) for line in files] == [
        ("neg", ("one  line",)),
        ("neg", ("another",)),
        ("pos", ("one  line",)),
        ("pos", ("another",)),
    ]


def test_codes_up_to_an_empty_line_are_one_utterance(tmp_path: Path) -> None:
    (tmp_path / "door.txt").write_text("open\nshut\n\nopen\n")
    assert [line.lines for line in read_texts(tmp_path, "lines")] == [("open", "shut"), ("open",)]


def test_a_manifest_names_text_label_split_and_speaker(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text('text,label,split,speaker\n"well, no",neg,test,ann\nyes,pos,,bob\n')
    first, second = read_texts(tmp_path, "words")
    assert (first.lines, first.label, first.group, first.split) == (("well, no",), "neg", "ann", "test")
    assert (second.group, second.split) == ("bob", None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("text,label\n,pos\n", "row 1: columns 'text' and 'label' must both hold something"),
        ("text,label,split\na,pos,maybe\n", "row 1: split 'maybe' is none of train, dev and test"),
        ("text,label\n", "has no rows"),
    ],
)
def test_a_manifest_that_is_not_whole_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(OtolithError, match=why):
        read_texts(tmp_path, "words")


def test_adding_lines_moves_none_and_the_same_sentence_is_in_one_split_only(tmp_path: Path) -> None:
    folder = write_sentences(tmp_path) / "sentences"
    before = {line.name: line.split for line in split_lines(read_texts(folder, "words"))}
    with (folder / "pos.txt").open("a") as file:
        file.write((folder / "neg.txt").read_text().replace(" ", "  ") + "a new one\n")
    after = split_lines(read_texts(folder, "words"))
    assert all(line.split == before.get(line.name, line.split) for line in after)
    splits: dict[str, set[str | None]] = {}
    for line in after:
        splits.setdefault(line.name, set()).add(line.split)
    assert {len(of) for of in splits.values()} == {1}
    assert {split for of in splits.values() for split in of} == {"train", "dev", "test"}


def test_the_vocabulary_is_of_training_lines_alone_and_the_unknown_token_stands_first(tmp_path: Path) -> None:
    recipe = parse_recipe(SENTENCES.replace("minimum_count = 1", "minimum_count = 2"), "small.toml")
    path = tmp_path / "x.txt"
    lines = [Line(name, path, (text,), "pos", None, split) for name, text, split in [
        ("a", "good good film", "train"), ("b", "a film", "train"), ("c", "bad bad bad", "dev")
    ]]  # fmt: skip
    tokens = with_vocabulary(recipe, lines).frontend
    assert isinstance(tokens, Tokens)
    assert tokens.vocabulary == ["<unknown>", "film", "good"]


def test_a_language_knows_the_end_of_a_line_and_is_split_by_place(tmp_path: Path) -> None:
    (tmp_path / "verse.txt").write_text("\n".join(f"line {number}" for number in range(20)) + "\n")
    passages = read_passages(tmp_path / "verse.txt")
    assert [(of.split, len(of.lines)) for of in passages] == [("train", 16), ("dev", 2), ("test", 2)]
    recipe = with_vocabulary(parse_recipe(LANGUAGE, "small.toml"), passages)
    assert recipe.all_labels[0] == "<unknown>"
    assert recipe.all_labels[-1] == "\n"


def test_tokens_that_stand_in_the_same_company_begin_alike() -> None:
    lines = [np.array([1, 2, 3]), np.array([1, 4, 3]), np.array([5, 6, 7]), np.array([5, 8, 7])] * 3
    vectors = vectors_of(lines, 9, 4)
    assert vectors.shape == (9, 4)
    alike, other = (float(vectors[2] @ vectors[of]) for of in (4, 6))
    assert alike > 0.9 * float(vectors[2] @ vectors[2])
    assert abs(other) < 1e-3
