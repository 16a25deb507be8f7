"""A first data set from text alone: a phrase, and phrases that sound like it, spoken by every voice that is installed.

A clip's words, voice and manner depend on the seed and on its place in the row, so a folder is continued by the same
command: clips that its manifest names stay, missing ones are spoken, a larger count adds to them.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import soundfile
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from otolith.errors import OtolithError, UsageError
from otolith_training.data.confusables import similar_phrases
from otolith_training.data.datasets import MANIFEST
from otolith_training.data.speech import read_speech, write_speech
from otolith_training.data.splits import hashed_split
from otolith_training.data.voices import Cast, Manner, Voice, VoiceError, find_voices, speak

UNKNOWN = "_unknown_"
COLUMNS = ["file", "label", "word", "speaker", "split", "voice", "engine", "text", "rate", "pitch", "size", "level_db"]
UNFINISHED = ".unfinished"  # where a clip grows before it is renamed to its place
SAVE_EVERY = 25  # clips between two writings of the manifest
TRIES = 20  # voices, before a clip is given up

RATES = (0.8, 1.25)
PITCHES = (0.85, 1.2)
SIZES = (0.9, 1.15)  # of the body that speaks: above 1 smaller and higher
LEVELS_DB = (-36.0, -14.0)
ENDINGS = (".", ".", "!", "?", ",")  # each asks for another melody

HONESTY = (
    "Synthetic speech alone is worth little against real recordings: these voices are few, clean and alike. "
    "Record 20 of your own, of several people and in the room it is for, and add them (docs/synthesize.md)."
)

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Clip:
    """A place in the row: the `number`th time that `word` is spoken."""

    label: str
    word: str
    number: int
    seed: int

    @property
    def file(self) -> str:
        """Its name in the folder."""
        return f"{self.label}/{_slug(self.word)}_s{self.seed}_{self.number:04d}.flac"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: the manifest's rows, and how many of this run's clips were there, were made or were given up."""

    rows: list[Row]
    kept: int
    made: int
    given_up: int
    cast: Cast


def synthesize(
    phrase: str, out: Path, count: int, similar: int, label: str | None, seed: int, console: Console
) -> Outcome:
    """Speak as `otolith synthesize` does. Raises `OtolithError`."""
    phrase = _checked_phrase(phrase)
    label = _checked_label(label or _slug(phrase))
    rows = _read_folder(out)
    _refuse_contradiction(rows, out, phrase, label)
    cast = find_voices()
    clips = [Clip(label, phrase, number, seed) for number in range(count)]
    if similar:
        with console.status("looking for phrases that sound alike"):
            clips += _negatives(phrase, similar, seed, rows)
    missing = [clip for clip in clips if clip.file not in rows]
    with _folder(out, rows) as scratch:
        made = _speak_all(missing, out, scratch, rows, cast, console)
    outcome = Outcome(list(rows.values()), len(clips) - len(missing), made, len(missing) - made, cast)
    _tell(outcome, out, console)
    return outcome


def _checked_phrase(phrase: str) -> str:
    phrase = " ".join(phrase.split())
    if not re.search(r"[A-Za-z0-9]", phrase):
        raise UsageError(f"synthesize: {phrase!r} holds no word; give what is to be spoken")
    if not re.fullmatch(r"[A-Za-z0-9 '.,!?-]{1,80}", phrase):
        raise UsageError(
            f"synthesize: {phrase[:80]!r} cannot be spoken; use up to 80 letters a to z, digits, spaces and ' . , ! ? -"
        )
    return phrase


def _checked_label(label: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", label):
        raise UsageError(
            f"synthesize: label {label!r} cannot name a folder; use up to 64 letters, digits, dashes and underscores"
        )
    return label


def _read_folder(out: Path) -> dict[str, Row]:
    """The rows, by file, of a folder made here before; none for a new one. Raises `OtolithError` for any other."""
    try:
        if not out.exists() or not any(out.iterdir()):
            return {}
        with (out / MANIFEST).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            if reader.fieldnames == COLUMNS:
                rows = {row["file"]: {name: row[name] for name in COLUMNS} for row in reader}
                return {name: row for name, row in rows.items() if (out / name).is_file()}
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OtolithError(
            f"{out}: cannot be used ({getattr(error, 'strerror', None) or error}); name another"
        ) from None
    raise OtolithError(f"{out}: holds files that are not from otolith synthesize; name a new folder")


def _refuse_contradiction(rows: dict[str, Row], out: Path, phrase: str, label: str) -> None:
    """A phrase must not stand under two labels."""
    for row in rows.values():
        if _slug(row["word"]) == _slug(phrase) and row["label"] != label:
            raise OtolithError(
                f"{out}: {phrase!r} is there as {row['label']}; name another folder, or delete those clips"
            )


def _negatives(phrase: str, similar: int, seed: int, rows: dict[str, Row]) -> list[Clip]:
    """Clips of phrases near in sound, each once before any comes twice, but none that has a label of its own."""
    taken = {_slug(row["word"]) for row in rows.values() if row["label"] != UNKNOWN}
    words = [word for word in similar_phrases(phrase) if _slug(word) not in taken]
    if not words:
        raise OtolithError(f"synthesize: knows no phrase that sounds like {phrase!r}; do without (--similar 0)")
    return [Clip(UNKNOWN, words[at % len(words)], at // len(words), seed) for at in range(similar)]


@contextmanager
def _folder(out: Path, rows: dict[str, Row]) -> Iterator[Path]:
    """The folder with its manifest, which is written again at the end; gives a place inside for what is unfinished."""
    scratch = out.absolute() / UNFINISHED
    try:
        out.mkdir(parents=True, exist_ok=True)
        _save(out, rows)  # now the folder is known as ours, whatever happens
        shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            _save(out, rows)
    except (OSError, soundfile.SoundFileError) as error:
        raise OtolithError(f"{out}: cannot be written ({getattr(error, 'strerror', None) or error})") from None


def _speak_all(
    clips: Sequence[Clip], out: Path, scratch: Path, rows: dict[str, Row], cast: Cast, console: Console
) -> int:
    """Speak every clip and note it in `rows`; returns how many could be spoken."""
    made = 0
    columns = (TextColumn("speaking"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(clips))
        for done, clip in enumerate(clips, start=1):
            progress.update(bar, completed=done, description=clip.word)
            if row := _speak_one(clip, out, scratch, cast):
                rows[clip.file] = row
                made += 1
            if done % SAVE_EVERY == 0:
                _save(out, rows)
    return made


def _speak_one(clip: Clip, out: Path, scratch: Path, cast: Cast) -> Row | None:
    """The clip in its place, and its row of the manifest; None where no voice could speak it."""
    rng = Random(f"{clip.seed}/{clip.label}/{clip.word}/{clip.number}")  # noqa: S311 - no secret
    for _ in range(TRIES):
        voice = cast.draw(rng)
        ending = rng.choice(ENDINGS)
        text = clip.word if clip.word[-1] in ".,!?" else clip.word + ending
        rate, pitch, size, level_db = (round(rng.uniform(*r), 3) for r in (RATES, PITCHES, SIZES, LEVELS_DB))
        try:
            wav = speak(voice, Manner(rate / size, pitch), text, scratch)  # playing it faster makes up for `size`
            samples = read_speech(wav, size, level_db)
        except VoiceError as error:
            cast.failed(voice, error)
            continue
        cast.spoke(voice)
        write_speech(scratch / "clip.flac", samples)
        (out / clip.label).mkdir(exist_ok=True)
        (scratch / "clip.flac").replace(out / clip.file)
        return _row(clip, voice, text, rate, pitch, size, level_db)
    return None


def _row(clip: Clip, voice: Voice, text: str, rate: float, pitch: float, size: float, level_db: float) -> Row:
    numbers = [str(number) for number in (rate, pitch, size, level_db)]
    values = [
        clip.file, clip.label, clip.word, voice.speaker, hashed_split(voice.speaker), voice.name, voice.engine, text
    ]  # fmt: skip
    return dict(zip(COLUMNS, [*values, *numbers], strict=True))


def _save(out: Path, rows: dict[str, Row]) -> None:
    beside = out / f".{MANIFEST}.part"
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(sorted(rows.values(), key=lambda row: row["file"]))
    beside.replace(out / MANIFEST)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _tell(outcome: Outcome, out: Path, console: Console) -> None:
    """Say what there is now, and what it is worth."""
    console.print(_engines(outcome))
    console.print(_splits(outcome.rows))
    for name, why in outcome.cast.skipped.items():
        console.print(f"skipped: {name}: {why}", markup=False, soft_wrap=True)
    if outcome.given_up:
        console.print(f"{outcome.given_up} clips could not be spoken; run it again when the voices are mended")
    told = f"{out}: {outcome.made} clips made, {outcome.kept} were there already"
    console.print(told, markup=False, soft_wrap=True)
    console.print(HONESTY, markup=False)


def _engines(outcome: Outcome) -> Table:
    table = Table("engine", "voices", "speakers", "clips", "skipped")
    voices = outcome.cast.voices
    for engine in dict.fromkeys([voice.engine for voice in voices]):
        own = [voice for voice in voices if voice.engine == engine]
        clips = sum(row["engine"] == engine for row in outcome.rows)
        skipped = outcome.cast.skipped_of(engine)
        cells = (len(own), len({voice.speaker for voice in own}), clips, skipped)
        table.add_row(engine, *map(str, cells))
    return table


def _splits(rows: Sequence[Row]) -> Table:
    """Clips by label and split; no speaker is in two."""
    splits = ("train", "dev", "test")
    table = Table("label", *splits)
    counts = Counter((row["label"], row["split"]) for row in rows)
    for label in sorted({row["label"] for row in rows}):
        table.add_row(label, *(str(counts[label, split]) for split in splits))
    speakers = Counter(split for _, split in {(row["speaker"], row["split"]) for row in rows})
    table.add_row("speakers", *(str(speakers[split]) for split in splits), style="dim")
    return table
