"""Sound and sensor files of any common format, as arrays.

Sound is read by libsndfile (wav, flac, ogg, mp3, ...), mixed to mono, and resampled by soxr when another rate is
asked for. Sensor recordings are CSV (`.csv.gz` too) or Parquet: a `t` column (seconds) or `timestamp` (milliseconds, or
dates as `date` has them: `2016-07-01 00:00:00`), a column a channel, and an optional `label` column. Text is UTF-8,
line by line. What a packed file would become is bounded before it is unpacked.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from otolith.errors import RecordingError

Floats = NDArray[np.float32]

TIME_COLUMNS = {"t": 1.0, "timestamp": 1e-3, "date": 1.0}  # name -> seconds a unit, where they are numbers
LABEL_COLUMN = "label"
MAX_CHANNELS = 64
MAX_COLUMNS = 4096
MAX_RATE = 1_000_000  # Hz
MAX_UPSAMPLING = 16  # of sound: a source far below a model's rate holds nothing of what it hears, and grows by so much
MAX_LINE = 1 << 20  # characters
SPARE_BYTES = 8 << 20  # that any packed file may become; beyond, it may grow by a factor:
PACKED, PACKED_SOUND = 32, 256  # sensors compress to a fifth or so, speech by Opus to 1/256 of its float32
READ_VALUES = 1 << 20  # of sound, at once
SENSOR_SUFFIXES = (".csv", ".csv.gz", ".parquet")
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64")


class AudioFile:
    """A sound file read block by block, so that an hour of sound costs a block of memory."""

    def __init__(self, path: str | Path) -> None:
        import soundfile  # here, since a daemon on a microphone does without it

        self.path = Path(path)
        _require_file(self.path)
        try:
            self._file = soundfile.SoundFile(self.path)
        except soundfile.SoundFileError as error:
            reason = str(error).rpartition(": ")[2].rstrip(".")
            raise RecordingError(f"{path}: cannot be read as sound ({reason}); convert it to wav or flac") from None
        self._errors: type[Exception] = soundfile.SoundFileError
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        if not 0 < self.rate <= MAX_RATE or not 1 <= self.channels <= MAX_CHANNELS:
            self._file.close()
            raise RecordingError(
                f"{path}: claims {self.channels} channels at {self.rate} Hz; convert it to mono 16 kHz wav"
            )

    def blocks(self, length: int) -> Iterator[Floats]:
        """Mono blocks of up to `length` samples `(n,)` in -1..1. Raises `RecordingError` on what is no sound."""
        position = 0
        length = max(1, min(length, READ_VALUES // self.channels))
        while True:
            try:
                block: Floats = self._file.read(length, dtype="float32", always_2d=True)
            except self._errors as error:
                raise RecordingError(f"{self.path}: breaks off at sample {position} ({error})") from None
            if not len(block):
                break
            with np.errstate(over="ignore", invalid="ignore"):  # looked at next
                mono: Floats = block[:, 0] if self.channels == 1 else block.mean(axis=1, dtype=np.float32)
            if not np.isfinite(mono).all():
                bad = position + int(np.flatnonzero(~np.isfinite(mono))[0])
                raise RecordingError(f"{self.path}: sample {bad} is not a number; write the file again from its source")
            position += len(mono)
            yield mono
        if not position:
            raise RecordingError(f"{self.path}: holds no samples; record it again or leave it out")

    def require_modest(self) -> None:
        """Raise `RecordingError` where all of it would be far more than its file: silence packs to next to nothing."""
        _require_modest(self.path, 4 * int(self._file.frames), PACKED_SOUND, "convert it to wav")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_audio(path: str | Path) -> tuple[Floats, int]:
    """All of a sound file: mono samples `(n,)` in -1..1, and its own rate in Hz. Raises `RecordingError`."""
    with AudioFile(path) as file:
        file.require_modest()
        return np.concatenate(list(file.blocks(1 << 20))), file.rate


def load_audio(path: str | Path, rate: int) -> Floats:
    """All of a sound file as mono samples `(n,)` at `rate` Hz. Raises `RecordingError`."""
    samples, found = read_audio(path)
    if found == rate:
        return samples
    if rate > MAX_UPSAMPLING * found:
        raise RecordingError(f"{path}: {found} Hz where {rate} Hz are wanted; record it faster")
    import soxr

    resampled: Floats = soxr.resample(samples, found, rate)
    return resampled


@dataclass(frozen=True, slots=True, eq=False)
class SensorRecording:
    """Rows of a sensor: `time_s` rises (or stands still: sensors deliver in bursts) and starts anywhere."""

    path: Path
    time_s: NDArray[np.float64]  # (rows,)
    values: Floats  # (rows, channels)
    channels: tuple[str, ...]
    labels: tuple[str, ...] | None  # one a row

    @property
    def rate(self) -> float:
        """Rows a second over the whole recording; 0 where one row or one moment leaves it unknown."""
        span = float(self.time_s[-1] - self.time_s[0])
        return (len(self.time_s) - 1) / span if span > 0 else 0.0

    def select(self, channels: Sequence[str]) -> Floats:
        """The named channels `(rows, channels)` in that order. Raises `RecordingError` naming the missing ones."""
        if missing := [name for name in channels if name not in self.channels]:
            raise RecordingError(
                f"{self.path}: has no column {', '.join(missing)} (found {', '.join(self.channels)}); "
                "name the columns as the model's card does"
            )
        return np.ascontiguousarray(self.values[:, [self.channels.index(name) for name in channels]])


def read_sensor(path: str | Path) -> SensorRecording:
    """A CSV or Parquet recording. Raises `RecordingError` saying which row and column, and what was found there."""
    path = Path(path)
    _require_file(path)
    if path.suffix.lower() == ".parquet":
        columns = _parquet_columns(path)
    elif is_sensor_file(path):
        columns = _csv_columns(path)
    else:
        raise RecordingError(f"{path}: a sensor recording ends in .csv, .csv.gz or .parquet; convert it to CSV")
    time_name = next((name for name in TIME_COLUMNS if name in columns), None)
    if time_name is None:
        raise RecordingError(
            f"{path}: has no time column (found {', '.join(columns) or 'nothing'}); add t (seconds), timestamp (ms) "
            "or date"
        )
    labels = columns.pop(LABEL_COLUMN, None)
    time_s = _seconds(path, time_name, columns.pop(time_name))
    if not len(time_s):
        raise RecordingError(f"{path}: holds no rows; record it again or leave it out")
    if not columns:
        raise RecordingError(f"{path}: has no channels beside {time_name}; add one column a channel")
    if (backwards := np.flatnonzero(np.diff(time_s) < 0)).size:
        row = int(backwards[0]) + 1
        raise RecordingError(
            f"{path}: row {row + 1}: time runs backwards ({time_s[row - 1]:g} s, then {time_s[row]:g} s); "
            "sort the rows or split the recording there"
        )
    return SensorRecording(
        path,
        time_s,
        np.stack([_floats(path, name, column) for name, column in columns.items()], axis=1),
        tuple(columns),
        None if labels is None else tuple(str(label).strip() for label in labels),
    )


def is_sensor_file(path: Path) -> bool:
    """Whether a file's name is that of a sensor recording."""
    return path.name.lower().endswith(SENSOR_SUFFIXES)


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, without their ends. Raises `RecordingError` on what is no UTF-8 text."""
    _require_file(path)
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise RecordingError(f"{path}: line {number} has over {MAX_LINE} characters; break it up")
                yield line.rstrip("\r\n")
    except UnicodeDecodeError:
        raise RecordingError(
            f"{path}: line {number + 1} or one soon behind it is not UTF-8; convert the file"
        ) from None


def read_text(path: Path) -> str:
    """All of a text file. Raises `RecordingError` on what is no UTF-8 text."""
    _require_file(path)
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise RecordingError(f"{path}: is not UTF-8; convert the file") from None


def _csv_columns(path: Path) -> dict[str, Sequence[Any]]:
    try:
        opened = gzip.open if path.suffix.lower() == ".gz" else open
        if opened is gzip.open:
            _require_modest(path, _unpacked_bytes(path), PACKED, "unpack it")
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            names = [name.strip() for name in next(reader, [])]
            if len(names) > MAX_COLUMNS:
                raise RecordingError(f"{path}: has {len(names)} columns; {MAX_COLUMNS} at most are read")
            rows = [row for row in reader if row]
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise RecordingError(f"{path}: is not CSV text ({error}); export it as UTF-8 CSV") from None
    if not names:
        raise RecordingError(f"{path}: is empty; a sensor recording needs a header and rows")
    if len(set(names)) != len(names):
        raise RecordingError(f"{path}: names a column twice ({', '.join(names)[:200]}); rename one")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise RecordingError(
                f"{path}: row {number} has {len(row)} fields, the header {len(names)}; the file may be cut off there"
            )
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return dict(zip(names, columns, strict=True))


def _parquet_columns(path: Path) -> dict[str, Sequence[Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise RecordingError(f"{path}: reading Parquet needs pyarrow; pip install 'otolith[parquet]'") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            claims = file.metadata
            groups = [claims.row_group(number) for number in range(claims.num_row_groups)]
            if claims.num_columns > MAX_COLUMNS:
                raise RecordingError(f"{path}: has {claims.num_columns} columns; {MAX_COLUMNS} at most are read")
            cells = 8 * claims.num_columns * max(claims.num_rows, sum(group.num_rows for group in groups))
            _require_modest(path, max(cells, sum(g.total_byte_size for g in groups)), PACKED, "convert it to CSV")
            table = file.read(use_threads=False)
        return {
            name: table[name].to_pylist() if name == LABEL_COLUMN else table[name].to_numpy()
            for name in table.column_names
        }
    except (pyarrow.ArrowException, OSError, ValueError, LookupError, TypeError, NotImplementedError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RecordingError(f"{path}: is not Parquet ({reason[:200]}); write it again") from None


def _seconds(path: Path, name: str, column: Sequence[Any]) -> NDArray[np.float64]:
    """A time column in seconds: numbers in its unit, or dates (UTC where they do not say)."""
    if not len(column) or _is_number(column[0]):
        return _numbers(path, name, column) * TIME_COLUMNS[name]
    moments = np.empty(len(column))
    for row, text in enumerate(column):
        try:
            moment = text if isinstance(text, datetime) else datetime.fromisoformat(str(text).strip())
        except ValueError:
            raise RecordingError(
                f"{path}: row {row + 1}, column {name}: {text!r} is neither a number nor a date; "
                "write 2016-07-01 00:00:00"
            ) from None
        moments[row] = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return moments


def _numbers(path: Path, name: str, column: Sequence[Any]) -> NDArray[np.float64]:
    """A column as finite numbers, or an error that names the row."""
    try:
        numbers = np.asarray(column, np.float64)
        if np.isfinite(numbers).all():
            return numbers
    except (ValueError, TypeError):
        pass
    for row, value in enumerate(column, start=1):
        if not _is_number(value):
            raise RecordingError(
                f"{path}: row {row}, column {name}: {value!r} is not a number; mend or leave out the row"
            )
    raise RecordingError(f"{path}: column {name} holds no numbers")


def _floats(path: Path, name: str, column: Sequence[Any]) -> Floats:
    """A channel's values. Raises `RecordingError` also on those that no float32 can hold."""
    numbers = _numbers(path, name, column)
    with np.errstate(over="ignore"):
        floats: Floats = numbers.astype(np.float32)
    if not np.isfinite(floats).all():
        row = int(np.argmin(np.isfinite(floats)))
        raise RecordingError(f"{path}: row {row + 1}, column {name}: {numbers[row]:g} is too large; mend its unit")
    return floats


def _is_number(value: object) -> bool:
    try:
        return bool(np.isfinite(float(value)))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return False


def _unpacked_bytes(path: Path) -> int:
    """How many bytes a gzip file becomes, or more than it may."""
    most, count = SPARE_BYTES + PACKED * path.stat().st_size, 0
    with gzip.open(path) as file:
        while count <= most and (part := file.read(1 << 18)):
            count += len(part)
    return count


def _require_modest(path: Path, unpacked: int, times: int, remedy: str) -> None:
    """Raise `RecordingError` where a packed file would become too much."""
    packed = path.stat().st_size
    if unpacked > SPARE_BYTES + times * packed:
        raise RecordingError(
            f"{path}: {packed} bytes would become {unpacked} or more, over {times} times as many; "
            f"{remedy}, if you trust it"
        )


def _require_file(path: Path) -> None:
    try:
        if path.is_file():
            return
        found = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
    except OSError as error:  # of a name that is too long
        found = f"cannot be looked at ({error.strerror})"
    raise RecordingError(f"{str(path)[:400]}: {found}; name a recording")
