"""Augmentation by audiomentations: the transforms that a recipe names, checked at the door, drawn from our own seed.

Only those are allowed that leave a word where it stands and its level to the composer. They draw from the generators
that Python and NumPy share with everybody (`random`, `np.random`), so each call seeds both from the composer's own
generator and puts them back after; a lock keeps two composers from doing so at once. A stream of draws by others in
another thread would lose some to us for that moment: nothing else in the trainer draws from them while it learns.
"""

from __future__ import annotations

import inspect
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError, SettingsError

Floats = NDArray[np.float32]

LEVELS = "the composer sets levels behind it; use streams.level_db and streams.snr_db"
REFUSED = {
    "AdjustDuration": "it changes the length",
    "Gain": LEVELS,
    "Lambda": "it needs a program, and a recipe holds none",
    "LoudnessNormalization": LEVELS,
    "Normalize": LEVELS,
    "RepeatPart": "it moves the word",
    "Resample": "it changes the length; Aliasing sounds alike and keeps it",
    "Reverse": "a word said backwards is another word",
    "Shift": "it moves the word; the composer places it anywhere",
    "TimeStretch": "it moves the word; use streams.speed",
    "Trim": "it changes the length",
}
PATHS = ("sounds_path", "ir_path")  # what a transform reads from, relative to the data folder
TRIALS = 10  # at the door, each with parameters drawn anew
FAILURES = (
    ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip

_SHARED = threading.Lock()


class Augmentation:
    """Transforms in the recipe's order; may be used from any thread."""

    def __init__(self, settings: Sequence[Mapping[str, object]], rate: int, data: Path) -> None:
        """Make and try each transform. Raises `SettingsError` that says where the recipe is wrong and what would do."""
        self._rate = rate
        self._transforms: list[tuple[str, Any]] = []
        for index, given in enumerate(settings):
            where = f"streams.augmentations[{index}]: {given['type']}"
            with redirect_stderr(StringIO()):  # audiomentations writes there of what it misses, and so do we
                transform = _make(where, given, data)
                self._try(where, transform)
            self._transforms.append((where, transform))

    def __call__(self, random: np.random.Generator, samples: Floats) -> Floats:
        """Samples `(n,)` augmented, `(n,)`; the same state of `random` gives the same. Raises `OtolithError`."""
        with _seeded(int(random.integers(2**32))):
            for where, transform in self._transforms:
                try:
                    samples = self._apply(transform, samples)
                except FAILURES as error:
                    told = f"{where}: fails on {len(samples)} samples: {_told(error)}"
                    raise OtolithError(f"{told}; take it out of the recipe or narrow its ranges") from error
        return samples

    def _try(self, where: str, transform: Any) -> None:
        """What only the sound itself shows: a missing package, a range beyond half the sample rate, another length."""
        noise = np.random.default_rng(0).standard_normal(self._rate // 2).astype(np.float32) * np.float32(0.1)
        share, transform.p = transform.p, 1.0
        try:
            with _seeded(0):
                for _ in range(TRIALS):
                    self._apply(transform, noise)
        except ImportError as error:
            remedy = "pip install 'audiomentations[extras]' or take it out"
            raise SettingsError(f"{where}: needs {error.name}, which is not installed; {remedy}") from None
        except FAILURES as error:
            raise SettingsError(f"{where}: fails on a trial: {_told(error)}; mend its parameters") from None
        transform.p = share

    def _apply(self, transform: Callable[[Floats, int], Floats], samples: Floats) -> Floats:
        heard = np.asarray(transform(samples.copy(), self._rate), np.float32)
        if heard.shape != samples.shape:
            raise ValueError(f"it makes {heard.shape} of {samples.shape}, and the length must stay")
        if not np.isfinite(heard).all():
            raise ValueError("it makes values that are not finite")
        return heard


def make_augmentation(settings: Sequence[Mapping[str, object]], rate: int, data: Path) -> Augmentation | None:
    """What the recipe's `streams.augmentations` ask for; none if they ask for nothing. Raises `SettingsError`."""
    return Augmentation(settings, rate, data) if settings else None


def _make(where: str, given: Mapping[str, object], data: Path) -> Any:
    name, parameters = str(given["type"]), {key: value for key, value in given.items() if key != "type"}
    if name in REFUSED:
        raise SettingsError(f"{where}: cannot be used, since {REFUSED[name]}")
    transforms = _transforms()
    if name not in transforms:
        raise SettingsError(f"{where}: audiomentations has no such transform; known: {', '.join(transforms)}")
    known = _parameters(transforms[name])
    if unknown := [key for key in parameters if key not in known]:
        raise SettingsError(f"{where}: unknown parameter {unknown[0]!r}; known: {', '.join(known)}")
    found = {key: _find(f"{where}.{key}", value, data) for key, value in parameters.items() if key in PATHS}
    try:
        return transforms[name](**{**parameters, **found})
    except FAILURES as error:
        raise SettingsError(f"{where}: refuses its parameters: {_told(error)}; mend them") from None


def _transforms() -> dict[str, Callable[..., Any]]:
    """The library's transforms of waveforms that may be used, by name."""
    try:
        import audiomentations  # here, since it takes seconds to load
        from audiomentations.core.transforms_interface import BaseWaveformTransform
    except ImportError:
        raise SettingsError("streams.augmentations: need audiomentations; pip install 'otolith[training]'") from None
    found = {name: value for name, value in vars(audiomentations).items() if inspect.isclass(value)}
    return {
        name: value
        for name, value in sorted(found.items())
        if issubclass(value, BaseWaveformTransform) and name not in REFUSED
    }


def _parameters(transform: Callable[..., Any]) -> list[str]:
    """The names of what a recipe can set: anything but functions."""
    parameters = inspect.signature(transform).parameters.values()
    return [p.name for p in parameters if p.kind is not p.VAR_KEYWORD and not p.name.endswith("_transform")]


def _find(where: str, value: object, data: Path) -> list[Path]:
    paths = [data / str(path) for path in (value if isinstance(value, list) else [value])]
    for path in paths:
        if not path.exists():
            raise SettingsError(f"{where}: {path} is not there; name files or folders within the data folder")
    return paths


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Python's and NumPy's shared generators begin at `seed`, and go on where they were behind it."""
    with _SHARED:
        python, numpy = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _told(error: BaseException) -> str:
    """The library's message on one line; its assertions have none."""
    return " ".join(str(error).split()) or "a value is out of its range"
