"""What a user brings as text: lines with a label each, or passages to learn a language from; and their vocabulary.

Labelled: a folder with a text file a label (`pos.txt`, `neg.txt`: a sentence a line), a folder a label with text files
in it, or `manifest.csv` with `text,label[,split,speaker]`. A line's split hangs on its words alone, so that adding
lines never moves old ones, and the same sentence is never in two splits. Where a line is a code (`cut = "lines"`) an
utterance is all lines up to an empty one. Passages: text files, of which the first 80 % are train, the end is test.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from otolith.errors import OtolithError
from otolith.inference.card import Cut
from otolith.inference.card import Tokens as CardTokens
from otolith.inference.tokenizer import END, Tokenizer, cut_line
from otolith.recordings import read_lines
from otolith_training.data.datasets import GROUP_COLUMNS, MANIFEST, SPLIT_NAMES, Line, Split
from otolith_training.data.splits import hashed_split
from otolith_training.recipe import Recipe, Tokens

TEST_SHARE = DEV_SHARE = 0.1  # lines are many and short: less than of recordings is enough
SUFFIX = ".txt"
UNKNOWN = "<unknown>"


def read_texts(place: Path, cut: Cut, label_column: str = "label", group_column: str = "") -> list[Line]:
    """The labelled utterances of a folder, in their files' order. Raises `OtolithError` where there are none."""
    if not place.is_dir():
        raise OtolithError(f"{place}: is no folder; it needs a text file a label (pos.txt, neg.txt) or {MANIFEST}")
    if (place / MANIFEST).is_file():
        return _read_manifest(place / MANIFEST, label_column, group_column)
    found = []
    for path in _text_files(place):
        label = path.relative_to(place).parts[0].removesuffix(SUFFIX)
        found += [_line(path, lines, label) for lines in _utterances(path, cut)]
    if not found:
        raise OtolithError(f"{place}: holds no text; it needs a text file a label (pos.txt, neg.txt) or {MANIFEST}")
    return found


def read_passages(place: Path) -> list[Line]:
    """Text without labels: each file's passages of train, dev and test. Raises `OtolithError` where there is none."""
    passages: list[Line] = []
    for path in [place] if place.is_file() else _text_files(place):
        lines = tuple(read_lines(path))
        ends = [round(share * len(lines)) for share in (0, 1 - DEV_SHARE - TEST_SHARE, 1 - TEST_SHARE, 1)]
        stretches = zip(("train", "dev", "test"), ends, ends[1:], strict=False)
        passages += [
            Line(f"{path.name} {split}", path, lines[start:end], "", None, SPLIT_NAMES[split])
            for split, start, end in stretches
            if end > start
        ]
    if not passages:
        raise OtolithError(f"{place}: holds no text; name a text file or a folder of them (*{SUFFIX})")
    return passages


def split_lines(lines: Iterable[Line]) -> list[Line]:
    """Every line with the split that it names, or one drawn by a hash of its author, if known, or else of its words."""
    drawn = ((line, hashed_split(line.group or line.name, DEV_SHARE, TEST_SHARE)) for line in lines)
    return [replace(line, split=line.split or split) for line, split in drawn]


def with_vocabulary(recipe: Recipe, items: Iterable[object]) -> Recipe:
    """The recipe with the vocabulary that its training texts have, where it takes tokens and names none itself."""
    tokens = recipe.frontend
    if not isinstance(tokens, Tokens):
        return recipe
    learned = [item for item in items if isinstance(item, Line) and item.split == "train"]
    vocabulary = tokens.vocabulary or find_vocabulary(learned, tokens)
    added = [UNKNOWN] if UNKNOWN not in vocabulary else []
    if recipe.is_language and END not in vocabulary:
        vocabulary = [*vocabulary, END]
    return msgspec.structs.replace(recipe, frontend=msgspec.structs.replace(tokens, vocabulary=[*added, *vocabulary]))


def find_vocabulary(lines: Sequence[Line], tokens: Tokens) -> list[str]:
    """The tokens that stand often enough in `lines`, the commonest first."""
    pieces = (cut_line(line, tokens.cut, lower=tokens.lower) for of in lines for line in of.lines)
    counts = Counter(piece for line in pieces for piece in line)
    counts.pop(UNKNOWN, None)
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: tokens.largest]
    return [piece for piece, count in common if count >= tokens.minimum_count]


def tokenizer_of(tokens: Tokens) -> Tokenizer:
    """The tokenizer that the model's card will describe."""
    vocabulary = tokens.vocabulary
    end = END if END in vocabulary else None
    return Tokenizer(CardTokens(tokens.cut, tokens.lower, vocabulary, vocabulary[0], end))


def _text_files(place: Path) -> list[Path]:
    return sorted(path for path in place.glob(f"**/*{SUFFIX}") if path.is_file())


def _utterances(path: Path, cut: Cut) -> Iterable[tuple[str, ...]]:
    """The file's lines that are not empty; where lines are codes, those between empty lines together."""
    together: list[str] = []
    for line in read_lines(path):
        if line.strip():
            together.append(line)
        if together and (cut != "lines" or not line.strip()):
            yield tuple(together)
            together = []
    if together:
        yield tuple(together)


def _line(path: Path, lines: tuple[str, ...], label: str, group: str | None = None, split: Split | None = None) -> Line:
    words = "\n".join(" ".join(line.split()) for line in lines)
    return Line(hashlib.sha256(words.encode()).hexdigest()[:16], path, lines, label, group, split)


def _read_manifest(path: Path, label_column: str, group_column: str) -> list[Line]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OtolithError(f"{path}: cannot be read as CSV ({error}); export it as UTF-8 CSV") from None
    found = []
    for number, row in enumerate(rows, start=1):
        text, label, split = row.get("text") or "", row.get(label_column) or "", (row.get("split") or "").lower()
        if not text.strip() or not label:
            raise OtolithError(f"{path}: row {number}: columns 'text' and {label_column!r} must both hold something")
        if split and split not in SPLIT_NAMES:
            raise OtolithError(f"{path}: row {number}: split {split!r} is none of train, dev and test; use those")
        group = next((row[name] for name in [group_column] if row.get(name)), None) if group_column else None
        group = group or next((row[name] for name in GROUP_COLUMNS if row.get(name)), None)
        found.append(_line(path, tuple(text.splitlines()), label, group, SPLIT_NAMES.get(split)))
    if not found:
        raise OtolithError(f"{path}: has no rows; write text,label and one utterance a row")
    return found
