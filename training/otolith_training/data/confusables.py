"""Phrases that sound like a phrase: the false alarms of tomorrow, found by their phonemes among English words.

Pronunciations are espeak-ng's. The distance between two is Levenshtein's (1966) over phonemes, cheap between sounds
that are often mistaken for each other. What can't be told from the phrase, or holds all of it, is left out: a model
that is to hear "computer" must not be told that "computers" is something else before the "s" is heard.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from pathlib import Path

from otolith.errors import OtolithError
from otolith_training.data.decoded import cache_folder

WORD_LISTS = (Path("/usr/share/dict/american-english-small"), Path("/usr/share/dict/words"))  # the first there is
WORD = re.compile(r"^[a-z]{1,12}$", re.MULTILINE)  # no names, no possessives
MOST = 150  # phrases in all
EXCHANGES = 50  # for each word of a phrase
FARTHEST = 0.5  # in distance a phoneme; beyond, a word sounds like anything
SAME = 0.45  # in distance: one vowel slightly off
SMALLEST_PART = 0.4  # of a phrase's phonemes: a word that sounds like less of it is no danger
GAP = 0.8  # a phoneme too many or too few
TIMEOUT_S = 300.0

VOWELS = "iɪeɛæaɑɒɔoʊuʌəɜ"
CONSONANTS = "pbtdkgfvθðszʃʒʧʤmnŋlɹjwh"
_SLIGHT = ("iɪ", "ɪə", "ʌə", "ɛe", "ɛæ", "ɔo", "ɑɔ", "ɑʌ", "ʊu", "əɛ", "ɜə", "əæ", "əɑ")  # accents and hurry
_SOME = (
    *("pb", "td", "kg", "fv", "θð", "sz", "ʃʒ", "ʧʤ", "fθ", "sʃ", "zð", "ðd", "ʃʧ", "ʒʤ", "θt", "vw", "bv", "sθ"),
    *("mn", "nŋ", "lɹ", "jw"),
)
COSTS = {
    **{a + b: 0.7 for a in VOWELS for b in VOWELS},
    **{order: 0.3 for pair in _SLIGHT for order in (pair, pair[::-1])},
    **{order: 0.5 for pair in _SOME for order in (pair, pair[::-1])},
    **{sound + sound: 0.0 for sound in VOWELS + CONSONANTS},
}
_LANGUAGE = re.compile(r"\([a-z-]+\)")  # espeak-ng's mark of a foreign word
_SPELT = {
    "dʒ": "ʤ",
    "tʃ": "ʧ",
    "ɐ": "ə",
    "ᵻ": "ɪ",
    "ɾ": "t",
    "ʔ": "t",
    "ɚ": "əɹ",
    "ɝ": "ɜɹ",
    "ɡ": "g",
    "r": "ɹ",
    "x": "k",
}


def similar_phrases(phrase: str) -> list[str]:
    """Up to `MOST` phrases near `phrase` in sound, the most telling first. Raises `OtolithError`."""
    words = re.findall(r"[a-z0-9']+", phrase.lower())
    vocabulary = _vocabulary()
    whole, *spoken = pronounce([" ".join(words), *words])
    sounds = {**vocabulary, **dict(zip(words, spoken, strict=True))}
    parts = [" ".join(part) for part in _parts(words)]
    nearest = _interleaved(
        _exchanged(words, spoken, vocabulary), _nearest(whole, vocabulary), _within(whole, vocabulary)
    )
    told = [
        candidate
        for candidate in dict.fromkeys([*parts, *nearest])
        if not _holds("".join(sounds[word] for word in candidate.split()), whole)
    ]
    return told[:MOST]


def pronounce(texts: Sequence[str]) -> list[str]:
    """The phonemes of each text, without stress and length. Raises `OtolithError` without espeak-ng."""
    if not shutil.which("espeak-ng"):
        raise OtolithError(
            "synthesize: phrases that sound alike need espeak-ng's pronunciations; "
            "apt-get install espeak-ng, or do without them (--similar 0)"
        )
    command = ["espeak-ng", "-q", "--ipa", "-v", "en-us", "--stdin"]
    text = "".join(f"{text}.\n" for text in texts)  # with the full stop each is a clause, and a line, of its own
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise OtolithError(
            f"synthesize: espeak-ng gives no pronunciations ({error}); mend it, or --similar 0"
        ) from None
    lines = done.stdout.splitlines()
    if len(lines) != len(texts):
        raise OtolithError(
            f"synthesize: espeak-ng gave {len(lines)} pronunciations of {len(texts)}; update it, or --similar 0"
        )
    return [fold(line) for line in lines]


def fold(ipa: str) -> str:
    """espeak-ng's IPA as one letter of `VOWELS` and `CONSONANTS` for each sound that tells words apart."""
    ipa = _LANGUAGE.sub("", ipa)
    for spelt, sound in _SPELT.items():
        ipa = ipa.replace(spelt, sound)
    return "".join(sound for sound in ipa if sound in VOWELS or sound in CONSONANTS)


def distance(a: str, b: str, anywhere: bool = False) -> float:
    """What it takes to turn the phonemes `a` into `b`, or, with `anywhere`, into any part of `b`."""
    before = [0.0 if anywhere else column * GAP for column in range(len(b) + 1)]
    for row, sound in enumerate(a, start=1):
        here = [row * GAP]
        for column, other in enumerate(b):
            change = before[column] + COSTS.get(sound + other, 1.0)
            here.append(min(change, before[column + 1] + GAP, here[column] + GAP))
        before = here
    return min(before) if anywhere else before[-1]


def _parts(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """Every shorter run of the words, then every order with two neighbours swapped."""
    for length in range(len(words) - 1, 0, -1):
        for start in range(len(words) - length + 1):
            yield words[start : start + length]
    for at in range(len(words) - 1):
        yield [*words[:at], words[at + 1], words[at], *words[at + 2 :]]


def _exchanged(words: Sequence[str], spoken: Sequence[str], vocabulary: dict[str, str]) -> list[str]:
    """The phrase with one word exchanged for another that sounds like it."""
    if len(words) == 1:
        return []  # the words nearest to the whole are that already
    chosen = [
        [" ".join([*words[:at], other, *words[at + 1 :]]) for other in _nearest(sound, vocabulary)[:EXCHANGES]]
        for at, sound in enumerate(spoken)
    ]
    return list(_interleaved(*chosen))


def _nearest(sound: str, vocabulary: dict[str, str]) -> list[str]:
    """Words that sound like all of it, nearest first."""
    found = []
    for word, other in vocabulary.items():
        longer = max(len(sound), len(other))
        if abs(len(sound) - len(other)) * GAP <= FARTHEST * longer:
            away = distance(sound, other)
            if SAME <= away <= FARTHEST * longer:
                found.append((away / longer, word))
    return [word for _, word in sorted(found)]


def _within(sound: str, vocabulary: dict[str, str]) -> list[str]:
    """Words that sound like a part of it, nearest first, and of those the longest."""
    shortest = SMALLEST_PART * len(sound)
    found = [
        (round(distance(other, sound, anywhere=True) / len(other), 1), -len(other), word)
        for word, other in vocabulary.items()
        if shortest <= len(other) < len(sound)
    ]
    return [word for away, _, word in sorted(found) if away <= FARTHEST / 2]


def _holds(candidate: str, whole: str) -> bool:
    """Whether all of the phrase is heard in the candidate."""
    return distance(whole, candidate, anywhere=True) < SAME


def _interleaved(*lists: Sequence[str]) -> Iterator[str]:
    return (item for item in chain.from_iterable(zip_longest(*lists)) if item is not None)


def _vocabulary() -> dict[str, str]:
    """English words and their phonemes. They take espeak-ng some 20 s, so they are kept in the user's cache."""
    words = _word_list()
    cache = cache_folder()
    kept = cache / f"pronunciations-{hashlib.sha256(repr((words, _SPELT)).encode()).hexdigest()[:12]}.txt"
    with suppress(OSError, UnicodeDecodeError):
        sounds = kept.read_text(encoding="utf-8").splitlines()
        if len(sounds) == len(words):
            return dict(zip(words, sounds, strict=True))
    sounds = pronounce(words)
    with suppress(OSError):  # a cache that can't be written costs time, nothing else
        cache.mkdir(parents=True, exist_ok=True)
        beside = kept.with_suffix(f".{os.getpid()}.part")
        beside.write_text("\n".join(sounds) + "\n", encoding="utf-8")
        beside.replace(kept)
    return dict(zip(words, sounds, strict=True))


def _word_list() -> list[str]:
    """The words of the system's own list. Raises `OtolithError` where there is none."""
    for path in WORD_LISTS:
        if path.is_file():
            return WORD.findall(path.read_text(encoding="utf-8"))
    raise OtolithError(
        f"synthesize: phrases that sound alike need a list of words ({WORD_LISTS[-1]}); "
        "apt-get install wamerican-small, or do without them (--similar 0)"
    )
