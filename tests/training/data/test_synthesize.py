"""A data set from text: read by the trainer, the same for the same seed, and never half written."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from otolith.errors import OtolithError, UsageError
from otolith.recordings import read_audio
from otolith_training.data.datasets import read_clips, read_manifest
from otolith_training.data.speech import KEPT_S, RATE, read_speech, write_speech
from otolith_training.data.splits import assign_splits, hashed_split
from otolith_training.data.synthesize import COLUMNS, Outcome, synthesize
from otolith_training.data.voices import VoiceError
from tests.processes import OTOLITH, run_otolith
from tests.training.data.speaking import know_few_words, needs_engines, only


def run(out: Path, phrase: str = "computer", count: int = 4, similar: int = 0, seed: int = 1, **more: str) -> Outcome:
    return synthesize(phrase, out, count, similar, more.get("label"), seed, Console(quiet=True))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@needs_engines
def test_what_is_made_is_what_the_trainer_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    know_few_words(monkeypatch, tmp_path)
    run(tmp_path / "set", "hey computer", count=24, similar=12)
    clips = read_clips(tmp_path / "set")
    assert {clip.label for clip in clips} == {"hey_computer", "_unknown_"}
    assert len(clips) == 36
    splits = defaultdict(set)
    for clip in assign_splits(clips):
        assert clip.split == hashed_split(clip.group or "")  # as if none stood in the manifest
        splits[clip.group].add(clip.split)
        samples, rate = read_audio(clip.path)
        assert rate == RATE
        assert 0.1 < len(samples) / rate < 4
        assert 0.005 < np.abs(samples).max() < 0.9
    assert all(len(of_one) == 1 for of_one in splits.values())
    assert len(splits) > 8


@needs_engines
def test_the_same_seed_speaks_the_same(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tmp_path / name, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert not set(contents(tmp_path / "a").values()) & set(contents(tmp_path / "c").values())


@needs_engines
def test_the_same_command_goes_on_and_keeps_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    run(folder, count=3)
    before = contents(folder)
    own = folder / "computer" / "mine.flac"
    write_speech(own, np.full(8000, 0.1, np.float32))
    with (folder / "manifest.csv").open("a", newline="") as file:
        csv.DictWriter(file, COLUMNS, restval="").writerow(
            {"file": "computer/mine.flac", "label": "computer", "speaker": "me"}
        )
    (folder / "computer" / "computer_s1_0001.flac").unlink()
    outcome = run(folder, count=5)
    assert (outcome.kept, outcome.made) == (2, 3)
    after = contents(folder)
    assert all(after[name] == content for name, content in before.items() if name != "manifest.csv")
    assert {row["speaker"] for row in read_manifest(folder) if row["file"] == "computer/mine.flac"} == {"me"}
    assert len(read_manifest(folder)) == 6


@needs_engines
def test_after_kill_9_every_file_is_whole_and_the_same_command_finishes(tmp_path: Path) -> None:
    folder, straight = tmp_path / "set", tmp_path / "straight"
    command = [*OTOLITH, "synthesize", "computer", "--out", str(folder), "--count", "40", "--similar", "0"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while len(list(folder.glob("computer/*.flac"))) < 27 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    found = list(folder.glob("computer/*"))
    assert 27 <= len(found) < 40
    assert all(len(read_audio(path)[0]) > 1000 for path in found)
    assert len(read_clips(folder)) >= 25
    assert run(folder, count=40).given_up == 0
    run(straight, count=40)
    assert contents(folder) == contents(straight)


@pytest.mark.parametrize("phrase", ["", "  ", "...", "x" * 81, "schön", "[[h@l'oU]]", "<speak>", "a\x00b"])
def test_what_cannot_be_spoken_is_refused(phrase: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^synthesize: ['\"].*['\"] .*; "):
        run(tmp_path / "set", phrase)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("label", ["../up", ".hidden", "a/b", "-x"])
def test_a_label_that_is_no_folder_is_refused(label: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot name a folder"):
        run(tmp_path / "set", label=label)


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("file,label\nyes.wav,yes\n")
    before = contents(tmp_path)
    with pytest.raises(OtolithError, match="holds files that are not from otolith synthesize; name a new folder"):
        run(tmp_path)
    with pytest.raises(OtolithError, match="cannot be used"):
        run(tmp_path / "manifest.csv")
    assert contents(tmp_path) == before


@needs_engines
def test_no_phrase_stands_under_two_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    know_few_words(monkeypatch, tmp_path)
    folder = tmp_path / "set"
    run(folder, "commuter", count=1)
    run(folder, "computer", count=1, similar=40)
    assert all(row["label"] == "commuter" for row in read_manifest(folder) if row["word"] == "commuter")
    with pytest.raises(OtolithError, match="'compute' is there as _unknown_; name another folder"):
        run(folder, "compute", count=1)


def test_a_voice_that_is_silent_is_skipped_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000), 16000)
    lines = ['if [ "$1" = -lv ]; then echo "Voices available: kal"; exit; fi', "for last; do :; done"]
    only(monkeypatch, tmp_path / "bin", flite="\n".join([*lines, f'/bin/cp {tmp_path}/silence.wav "$last"']))
    with pytest.raises(OtolithError, match=r"every voice failed, the first flite kal \(spoke nothing but silence\)"):
        run(tmp_path / "set")
    assert [path.name for path in (tmp_path / "set").rglob("*") if path.is_file()] == ["manifest.csv"]


def test_silence_at_the_ends_is_cut_to_a_tenth_of_a_second(tmp_path: Path) -> None:
    tone = 0.3 * np.sin(np.arange(22050) * 0.2)
    soundfile.write(tmp_path / "tone.wav", np.concatenate((np.zeros(22050), tone, np.zeros(11025))), 22050)
    samples = read_speech(tmp_path / "tone.wav", 1.0, -20.0)
    assert len(samples) / RATE == pytest.approx(1 + 2 * KEPT_S, abs=0.03)
    voiced = samples[3200:-3200]
    assert 20 * np.log10(np.sqrt(np.mean(voiced**2))) == pytest.approx(-20, abs=0.3)
    smaller = read_speech(tmp_path / "tone.wav", 1.25, -20.0)
    assert len(smaller) / RATE == pytest.approx(0.8 + 2 * KEPT_S, abs=0.03)


def test_a_click_does_not_clip(tmp_path: Path) -> None:
    samples = 0.01 * np.sin(np.arange(16000) * 0.2)
    samples[8000] = 0.9
    soundfile.write(tmp_path / "click.wav", samples, 16000)
    assert np.abs(read_speech(tmp_path / "click.wav", 1.0, -10.0)).max() < 0.9


def test_what_is_no_speech_is_said(tmp_path: Path) -> None:
    for samples, why in ((np.full(800, 0.1), "spoke for 0.05 s"), (np.zeros(0), "holds no samples")):
        soundfile.write(tmp_path / "odd.wav", samples, 16000)
        with pytest.raises(VoiceError, match=why):
            read_speech(tmp_path / "odd.wav", 1.0, -20.0)


@needs_engines
def test_the_command_tells_voices_splits_and_what_it_is_worth(tmp_path: Path) -> None:
    code, out, said = run_otolith("synthesize", "computer", "--out", tmp_path / "set", "--count", "2", "--similar", "0")
    assert (code, out) == (0, "")
    for told in ("espeak-ng", "flite", "festival", "train", "test", "2 clips made", "worth little", "Record 20"):
        assert told in said
    code, _, said = run_otolith("synthesize", "", "--out", tmp_path / "set")
    assert code == 2
    assert said.startswith("otolith: synthesize: '' holds no word")


def test_naming_the_command_loads_nothing_heavy() -> None:
    check = "import otolith_training.cli, sys; print({'torch', 'librosa', 'numpy', 'soundfile'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
