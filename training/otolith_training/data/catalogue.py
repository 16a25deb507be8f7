"""The public sets that recipes learn from: where each lies, what is published of it, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from otolith.errors import UsageError
from otolith_training.data.arrange import (
    Arrange,
    arrange_sp_sw_har,
    arrange_speech_commands,
    arrange_speech_commands_test,
)
from otolith_training.data.download import Source
from otolith_training.data.unpack import Bounds

RECIPES = Path(__file__).parent.parent / "recipes"
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A set that anyone may fetch. `name` is also its folder's, as recipes name it."""

    name: str
    title: str
    source: Source
    archive: str  # file name to download under
    megabytes: int  # of the archive; a guess where its size is not published
    bounds: Bounds
    arrange: Arrange
    licence: str
    attribution: str
    home: str
    recipe: str | None = None  # the one that learns from this set alone
    note: str = ""  # what one should know before using it


# Sizes and checksums of both archives are those that TensorFlow Datasets publishes (speech_commands, checksums.tsv) and
# torchaudio repeats. The same files lie under http://download.tensorflow.org/data/, which has no https.
_GOOGLE = "https://storage.googleapis.com/download.tensorflow.org/data/"
_WARDEN = "Pete Warden, Google; arXiv 1804.03209"

# GitHub's archive of a commit: the files in it are fixed by the commit, its bytes are not promised, and nobody
# publishes a checksum. 448 recordings of 70 MB in all, so about 27 MB as a zip.
_GEOTEC = "https://github.com/GeoTecINIT/sp-sw-har-dataset/archive/1408d85a512a53861de7bc4729dee283fff2ea9d.zip"

SETS = (
    PublicSet(
        name="speech_commands",
        title="Speech Commands v0.02: 35 words, 105,829 one-second clips of 2,618 speakers, and six noises",
        source=Source(
            url=f"{_GOOGLE}speech_commands_v0.02.tar.gz",
            limit=2_428_923_189,
            size=2_428_923_189,
            sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        ),
        archive="speech_commands_v0.02.tar.gz",
        megabytes=2429,
        bounds=Bounds(120_000, 4500 * MB),
        arrange=arrange_speech_commands,
        licence="CC BY 4.0",
        attribution=_WARDEN,
        home="https://arxiv.org/abs/1804.03209",
        recipe="speech_commands.toml",
        note="words.onnx learned from speakers of its test split: measure that model on the split dev",
    ),
    PublicSet(
        name="speech_commands_test",
        title="Speech Commands v0.02, canonical test files: ten words, unknown and silence, 4,890 clips",
        source=Source(
            url=f"{_GOOGLE}speech_commands_test_set_v0.02.tar.gz",
            limit=112_563_277,
            size=112_563_277,
            sha256="cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
        ),
        archive="speech_commands_test_set_v0.02.tar.gz",
        megabytes=113,
        bounds=Bounds(10_000, 300 * MB),
        arrange=arrange_speech_commands_test,
        licence="CC BY 4.0",
        attribution=_WARDEN,
        home="https://arxiv.org/abs/1804.03209",
        note="words.onnx learned from many of these clips: this tells nothing of that model",
    ),
    PublicSet(
        name="sp_sw_har",
        title="SP-SW-HAR: a phone and a watch on 23 subjects who sit, stand up, walk, turn and sit down",
        source=Source(url=_GEOTEC, limit=200 * MB),
        archive="sp_sw_har.zip",
        megabytes=27,
        bounds=Bounds(2000, 500 * MB),
        arrange=arrange_sp_sw_har,
        licence="CC BY 4.0",
        attribution="Matey-Sanz, Casteleyn, Granell (GEOTEC, Universitat Jaume I), Data in Brief 2023, 109809",
        home="https://doi.org/10.5281/zenodo.8398688",
        recipe="motion.toml",
        note="motion.onnx learned from ten of its subjects: measured on all of them it looks better than it is",
    ),
)


def find_set(name: str) -> PublicSet:
    """The set of that name. Raises `UsageError` where there is none."""
    for found in SETS:
        if found.name == name:
            return found
    raise UsageError(f"data: knows no set {name!r}; name one of {', '.join(known.name for known in SETS)}")
