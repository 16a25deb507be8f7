"""The voices installed on this machine, and one call that makes any of them speak.

A text reaches an engine through a file or its standard input, never through a shell or among its options.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from otolith.errors import OtolithError

TIMEOUT_S = 30.0  # an engine that takes longer for a few words hangs
FAILURES = 5  # of an engine's voices, and not one success: the engine itself is broken
ADVICE = (
    "apt-get install espeak-ng flite festival festvox-kallpc16k festvox-us-slt-hts, "
    "or piper with English voices in $PIPER_VOICES"
)


class VoiceError(Exception):
    """A voice did not speak."""

    def __init__(self, why: str, hung: bool = False) -> None:
        super().__init__(why)
        self.hung = hung


@dataclass(frozen=True, slots=True)
class Voice:
    """One way of sounding. A speaker is one throat: the same person (or formant set) under any engine or accent."""

    engine: str
    name: str
    speaker: str


@dataclass(frozen=True, slots=True)
class Manner:
    """How something is said, as factors on the voice's own way."""

    rate: float = 1.0
    pitch: float = 1.0  # of the voice alone; piper and festival have no such setting and ignore it


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that speaks."""

    share: (
        float  # of the clips, against the other engines': those made of people's recordings vary less but sound human
    )
    find: Callable[[], list[Voice]]
    command: Callable[[Voice, Manner, Path, Path], list[str]]  # voice, manner, text file, wav file to write


def speak(voice: Voice, manner: Manner, text: str, folder: Path) -> Path:
    """A wav file in `folder` (absolute) in which `voice` says `text`. Raises `VoiceError`."""
    words, wav = folder / "words.txt", folder / "speech.wav"
    words.write_text(text + "\n", encoding="ascii")
    wav.unlink(missing_ok=True)
    _call(ENGINES[voice.engine].command(voice, manner, words, wav), words)
    if not wav.is_file() or not wav.stat().st_size:
        raise VoiceError("wrote no sound")
    return wav


@dataclass(slots=True)
class Cast:
    """Voices to draw from, less those that failed; `skipped` tells which and why."""

    voices: list[Voice]
    skipped: dict[str, str] = field(default_factory=dict)  # engine, or engine and voice -> why
    _out: set[Voice] = field(default_factory=set)
    _well: set[str] = field(default_factory=set)  # engines that have spoken

    def draw(self, rng: Random) -> Voice:
        """A voice: first the engine by its share, then the speaker, then the voice. Raises `OtolithError`."""
        if len(self._out) == len(self.voices):
            name, why = next(iter(self.skipped.items()))
            raise OtolithError(f"synthesize: every voice failed, the first {name} ({why}); {ADVICE}")
        while True:
            speakers = Counter(engine for engine, _ in {(voice.engine, voice.speaker) for voice in self.voices})
            shares = {name: ENGINES[name].share * speakers[name] ** 0.5 for name in sorted(speakers)}
            engine = rng.choices(list(shares), list(shares.values()))[0]
            speaker = rng.choice(sorted({voice.speaker for voice in self.voices if voice.engine == engine}))
            voice = rng.choice([v for v in self.voices if v.engine == engine and v.speaker == speaker])
            if voice not in self._out:
                return voice

    def skipped_of(self, engine: str) -> int:
        """How many of an engine's voices are left out."""
        return sum(voice.engine == engine for voice in self._out)

    def spoke(self, voice: Voice) -> None:
        """Remember that the engine works."""
        self._well.add(voice.engine)

    def failed(self, voice: Voice, error: VoiceError) -> None:
        """Leave the voice out from now on, and its whole engine where that hangs or has only ever failed."""
        self._out.add(voice)
        beside = [v for v in self.voices if v.engine == voice.engine]
        broken = voice.engine not in self._well and sum(v in self._out for v in beside) >= FAILURES
        if error.hung or broken:
            self._out.update(beside)
            self.skipped = {name: why for name, why in self.skipped.items() if name.split()[0] != voice.engine}
        self.skipped[voice.engine if error.hung or broken else f"{voice.engine} {voice.name}"] = str(error)


def find_voices() -> Cast:
    """Every English voice of every engine. Raises `OtolithError` where there is none."""
    cast = Cast([])
    for name, engine in ENGINES.items():
        try:
            cast.voices.extend(engine.find())
        except VoiceError as error:
            cast.skipped[name] = str(error)
    if not cast.voices:
        tried = "".join(f" ({name}: {why})" for name, why in cast.skipped.items())
        raise OtolithError(f"synthesize: found no voice{tried}; {ADVICE}")
    return cast


# espeak-ng: few accents, and a hundred sets of formants that each can take. Left out are machines' and monsters'
# voices, and names that sound the same as another.
_NOT_PEOPLE = re.compile(r"robosoft\d*|UniRobot|anikaRobot|Demonic|announcer|fast|klatt6?", re.IGNORECASE)
_ESPEAK_LINE = re.compile(r"\s*\d+\s+(?P<language>\S+)\s+\S+\s+\S+\s+(?P<file>\S.*?)\s*(\(.*)?")
_ESPEAK_WPM = 175
_ESPEAK_PITCH = 50  # of 99
_ESPEAK_LEVEL = 50  # of 200; several voices clip at its own 100


def _find_espeak() -> list[Voice]:
    if not shutil.which("espeak-ng"):
        return []
    accents = [
        found["language"]
        for found in map(_ESPEAK_LINE.fullmatch, _call(["espeak-ng", "--voices=en"]).splitlines())
        if found and not found["file"].startswith(("mb/", "!v/"))  # mbrola's need data that is not free
    ]
    variants = [
        found["file"].removeprefix("!v/")
        for found in map(_ESPEAK_LINE.fullmatch, _call(["espeak-ng", "--voices=variant"]).splitlines())
        if found and not _NOT_PEOPLE.fullmatch(found["file"].removeprefix("!v/"))
    ]
    return [
        Voice("espeak-ng", f"{accent}+{variant}" if variant else accent, f"espeak-{variant or 'plain'}")
        for variant in ["", *sorted(variants)]
        for accent in sorted(accents)
    ]


def _command_espeak(voice: Voice, manner: Manner, _words: Path, wav: Path) -> list[str]:
    pitch = min(99, round(_ESPEAK_PITCH * manner.pitch))
    speed = round(_ESPEAK_WPM * manner.rate)
    how = ["-v", voice.name, "-s", str(speed), "-p", str(pitch), "-a", str(_ESPEAK_LEVEL)]
    return ["espeak-ng", *how, "-w", str(wav), "--stdin"]


def _find_flite() -> list[Voice]:
    if not shutil.which("flite"):
        return []
    names = _call(["flite", "-lv"]).partition("available:")[2].split()
    return [Voice("flite", name, _person(name)) for name in names if name != "awb_time"]  # which can tell the time only


def _command_flite(voice: Voice, manner: Manner, words: Path, wav: Path) -> list[str]:
    how = ["--setf", f"duration_stretch={1 / manner.rate:.3f}", "--setf", f"f0_shift={manner.pitch:.3f}"]
    return ["flite", "-voice", voice.name, *how, "-f", str(words), "-o", str(wav)]


def _find_festival() -> list[Voice]:
    if not (shutil.which("festival") and shutil.which("text2wave")):
        return []
    told = '(format t "%s %s\\n" v (cadr (assoc \'language (cadr (voice.description v)))))'
    asked = f"(mapcar (lambda (v) {told}) (voice.list))"
    lines = [line.split() for line in _call(["festival", "--batch", asked]).splitlines()]
    names = sorted(line[0] for line in lines if line[1:] == ["english"] and re.fullmatch(r"\w+", line[0]))
    return [Voice("festival", name, _person(name)) for name in names]


def _command_festival(voice: Voice, manner: Manner, words: Path, wav: Path) -> list[str]:
    stretch = f"(Parameter.set 'Duration_Stretch {1 / manner.rate:.3f})"
    hts = (
        f'(set! hts_engine_params (append hts_engine_params (list (list "-r" {manner.rate:.3f}))))'  # deaf to the above
    )
    how = [f"(voice_{voice.name})", stretch, f"(if (boundp 'hts_engine_params) {hts})"]
    return ["text2wave", str(words), "-o", str(wav), *(part for each in how for part in ("-eval", each))]


def _piper_folder() -> Path:
    return Path(os.environ.get("PIPER_VOICES") or Path.home() / ".local" / "share" / "piper").absolute()


def _find_piper() -> list[Voice]:
    if not shutil.which("piper"):
        return []
    folder = _piper_folder()
    voices = []
    for model in sorted(folder.rglob("*.onnx")):
        try:
            card: dict[str, Any] = json.loads(Path(f"{model}.json").read_text(encoding="utf-8"))
            if str(card["espeak"]["voice"]).startswith("en"):
                name = model.relative_to(folder).as_posix().removesuffix(".onnx")
                speakers = range(int(card["num_speakers"]))
                voices += [Voice("piper", f"{name}#{number}", f"{model.stem}#{number}") for number in speakers]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no voice of piper's: it may be any model
    return voices


def _command_piper(voice: Voice, manner: Manner, _words: Path, wav: Path) -> list[str]:
    name, _, number = voice.name.rpartition("#")
    how = ["--length_scale", f"{1 / manner.rate:.3f}", "--speaker", number]
    return ["piper", "--model", f"{_piper_folder() / name}.onnx", *how, "--output_file", str(wav)]


ENGINES = {
    "espeak-ng": Engine(0.1, _find_espeak, _command_espeak),
    "flite": Engine(0.4, _find_flite, _command_flite),
    "festival": Engine(0.3, _find_festival, _command_festival),
    "piper": Engine(0.6, _find_piper, _command_piper),
}


def _person(name: str) -> str:
    """Who lent a voice: flite's kal16 and festival's kal_diphone are one man."""
    return re.sub(r"_.*|\d+$", "", name.removeprefix("cmu_us_"))


def _call(command: list[str], words: Path | None = None) -> str:
    """What a program printed. Raises `VoiceError` where it fails or hangs; then nothing of it is left running."""
    with (words or Path(os.devnull)).open("rb") as stdin:
        try:
            process = subprocess.Popen(  # noqa: S603 - a list, so no shell reads it
                command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise VoiceError(f"cannot be started ({error.strerror})") from None
    with process:
        try:
            printed = process.communicate(timeout=TIMEOUT_S)[0].decode("utf-8", "replace")
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it, and what it may have started
            if isinstance(error, subprocess.TimeoutExpired):
                raise VoiceError(f"no answer in {TIMEOUT_S:g} s", hung=True) from None
            raise
    if process.returncode:
        last = (printed.strip().splitlines() or ["with no word"])[-1]
        raise VoiceError(f"failed with {process.returncode}: {last[:120]}")
    return printed
