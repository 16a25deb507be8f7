"""What the tests of synthetic speech share: which engines are here, stand-ins that misbehave, a short list of words."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from otolith_training.data import confusables

PROGRAMS = ("espeak-ng", "flite", "festival")
needs_engines = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)), reason=f"apt-get install {' '.join(PROGRAMS)} festvox-kallpc16k"
)
VOCABULARY = """a alpine away bay camper commuter composer compute computers day door far hay hello high minicomputers
pay pewter potato say table tutor window""".replace(" ", "\n")


def only(monkeypatch: pytest.MonkeyPatch, folder: Path, **programs: str) -> None:
    """Leave no program to be found but shell scripts of that text; '-' in a name is written '_'."""
    folder.mkdir(exist_ok=True)
    for name, script in programs.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def know_few_words(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A vocabulary that is looked up in a moment, and a cache of the test's own."""
    words = folder / "few_words.txt"
    words.write_text(VOCABULARY)
    monkeypatch.setattr(confusables, "WORD_LISTS", (words,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
