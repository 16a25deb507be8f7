"""Voices: every engine speaks, and one that fails, hangs or is not there costs no more than itself."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from random import Random

import pytest

from otolith.errors import OtolithError
from otolith.recordings import read_audio
from otolith_training.data import voices
from otolith_training.data.voices import Cast, Manner, Voice, VoiceError, find_voices, speak
from tests.training.data.speaking import PROGRAMS, needs_engines, only

FLITE_VOICES = 'if [ "$1" = -lv ]; then echo "Voices available: kal slt"; exit; fi\n'
SEVEN_VOICES = 'if [ "$1" = -lv ]; then echo "Voices available: a b c d e f g"; exit; fi\n'


@needs_engines
@pytest.mark.parametrize("engine", PROGRAMS)
def test_every_engine_speaks_what_looks_like_an_option(engine: str, tmp_path: Path) -> None:
    voice = next(voice for voice in find_voices().voices if voice.engine == engine)
    samples, rate = read_audio(speak(voice, Manner(), "--help, computer!", tmp_path))
    assert 0.5 < len(samples) / rate < 4
    assert abs(samples).max() > 0.02


@needs_engines
@pytest.mark.parametrize("engine", PROGRAMS)
def test_every_voice_is_faster_at_a_higher_rate(engine: str, tmp_path: Path) -> None:
    for voice in [voice for voice in find_voices().voices if voice.engine == engine][:8]:
        slow, fast = (len(read_audio(speak(voice, Manner(rate), "computer", tmp_path))[0]) for rate in (0.8, 1.25))
        assert slow > 1.2 * fast, voice


@needs_engines
def test_one_person_is_one_speaker_under_every_engine() -> None:
    found = find_voices().voices
    assert {voice.engine for voice in found if voice.speaker == "kal"} == {"flite", "festival"}
    assert len({voice.speaker for voice in found if voice.engine == "espeak-ng"}) > 50


def test_without_any_engine_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, tmp_path / "bin")
    with pytest.raises(OtolithError, match=r"^synthesize: found no voice; apt-get install espeak-ng flite festival"):
        find_voices()


def test_a_hanging_engine_is_left_out_whole_and_nothing_of_it_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = shutil.which("sleep")
    only(monkeypatch, tmp_path / "bin", flite=f"{FLITE_VOICES}{sleep} 60 &\necho $! > {tmp_path}/child; wait")
    monkeypatch.setattr(voices, "TIMEOUT_S", 0.5)
    cast = find_voices()
    with pytest.raises(VoiceError, match=r"no answer in 0\.5 s") as caught:
        speak(cast.voices[0], Manner(), "hello", tmp_path)
    cast.failed(cast.voices[0], caught.value)
    assert cast.skipped == {"flite": "no answer in 0.5 s"}
    assert cast.skipped_of("flite") == 2
    child = Path("/proc") / (tmp_path / "child").read_text().strip()
    deadline = time.monotonic() + 5
    while child.exists() and "Z" not in (child / "stat").read_text().split()[2] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not child.exists() or (child / "stat").read_text().split()[2] == "Z"


def test_an_engine_that_only_fails_is_left_out_after_five_voices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, tmp_path / "bin", flite=f"{SEVEN_VOICES}echo no such voice >&2; exit 3")
    cast = find_voices()
    for voice in cast.voices[: voices.FAILURES]:
        with pytest.raises(VoiceError, match="failed with 3: no such voice") as caught:
            speak(voice, Manner(), "hello", tmp_path)
        cast.failed(voice, caught.value)
    assert cast.skipped == {"flite": "failed with 3: no such voice"}
    with pytest.raises(OtolithError, match="every voice failed, the first flite"):
        cast.draw(Random(1))


def test_a_voice_that_fails_costs_its_engine_nothing() -> None:
    cast = Cast([Voice("flite", "kal", "kal"), Voice("flite", "slt", "slt")])
    cast.failed(cast.voices[0], VoiceError("spoke nothing but silence"))
    assert {cast.draw(Random(seed)).name for seed in range(20)} == {"slt"}
    assert cast.skipped == {"flite kal": "spoke nothing but silence"}


def test_piper_gets_its_english_voices_each_speaker_and_the_words_on_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "voices"
    for name, voice in (("en/amy", "en-us"), ("de/eva", "de")):
        path = folder / f"{name}.onnx"
        path.parent.mkdir(parents=True)
        path.touch()
        Path(f"{path}.json").write_text(json.dumps({"espeak": {"voice": voice}, "num_speakers": 2}))
    (folder / "other.onnx").touch()
    monkeypatch.setenv("PIPER_VOICES", str(folder))
    cat = shutil.which("cat")
    only(monkeypatch, tmp_path / "bin", piper=f'echo "$*" > {tmp_path}/told\n{cat} > {tmp_path}/speech.wav')
    found = find_voices().voices
    assert [(voice.name, voice.speaker) for voice in found] == [("en/amy#0", "amy#0"), ("en/amy#1", "amy#1")]
    wav = speak(found[1], Manner(0.8), "-hello", tmp_path)
    assert wav.read_text() == "-hello\n"
    told = f"--model {folder}/en/amy.onnx --length_scale 1.250 --speaker 1 --output_file {wav}"
    assert (tmp_path / "told").read_text().strip() == told


def test_another_program_of_the_name_piper_is_no_voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPER_VOICES", str(tmp_path))
    only(monkeypatch, tmp_path / "bin", piper=f"echo > {tmp_path}/started")
    with pytest.raises(OtolithError, match="found no voice"):
        find_voices()
    assert os.listdir(tmp_path) == ["bin"]  # noqa: PTH208
