"""The cache of decoded sound: what is read from it is what decoding gives, or it is not used."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from otolith.errors import RecordingError
from otolith.recordings import load_audio
from otolith_training.data import decoded
from otolith_training.data.decoded import load_decoded
from tests.training.small import DATA

RATE = 8000  # so that what is kept was resampled
WORDS = sorted((DATA / "clips").rglob("*.flac"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "otolith" / "decoded"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The recordings that were decoded, in their order."""
    paths = []

    def load(path: Path, rate: int) -> decoded.Floats:
        paths.append(path)
        return load_audio(path, rate)

    monkeypatch.setattr(decoded, "load_audio", load)
    return paths


def check(paths: list[Path]) -> None:
    for found, path in zip(load_decoded(paths, RATE, "words"), paths, strict=True):
        np.testing.assert_array_equal(found, load_audio(path, RATE))


def test_a_recording_is_decoded_once_and_its_samples_are_the_same_after(opened: list[Path]) -> None:
    check(WORDS[:4])
    assert sorted(opened) == WORDS[:4]
    check([WORDS[2], WORDS[0], WORDS[2]])
    assert len(opened) == 4


def test_a_changed_file_is_noticed_even_if_its_time_and_size_stay(tmp_path: Path, opened: list[Path]) -> None:
    path = tmp_path / "sound.wav"
    for level in (0.1, 0.2):
        soundfile.write(path, np.full(RATE, level, np.float32), RATE)
        os.utime(path, ns=(0, 0))
        check([path, WORDS[0]])
    assert opened.count(path) == 2
    assert opened.count(WORDS[0]) == 1


def test_a_recording_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"gone\.wav: does not exist"):
        load_decoded([tmp_path / "gone.wav"], RATE, "words")


@pytest.mark.parametrize("suffix", [".f32", ".json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "gone"])
def test_a_damaged_cache_is_built_again(cache: Path, opened: list[Path], suffix: str, damage: str) -> None:
    check(WORDS[:2])
    (path,) = cache.glob(f"*{suffix}")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {"cut": content[: middle + 1], "changed": content[:middle] + b"\0\1" + content[middle + 2 :]}.get(damage, b"")
    )
    if damage == "gone":
        path.unlink()
    check(WORDS[:2])
    assert len(opened) > 2
    decodings = len(opened)
    check(WORDS[:2])
    assert len(opened) == decodings


def test_another_decoder_decodes_anew(opened: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    check(WORDS[:2])
    monkeypatch.setattr(decoded, "_decoder", lambda: "another")
    check(WORDS[:2])
    assert len(opened) == 4


def test_what_is_too_much_or_cannot_be_kept_is_decoded_all_the_same(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "MOST_BYTES", 1000)
    check(WORDS[:2])
    assert not cache.exists()
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    check(WORDS[:2])
