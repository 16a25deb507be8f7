"""What a source is, and how its spec is written: `microphone:`, `recording:PATH?pace=none`, `pipe:?rate=48000`.

A source yields blocks; nothing behind it knows where they came from.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Protocol
from urllib.parse import parse_qsl

import msgspec
import numpy as np
from numpy.typing import NDArray

from otolith.errors import UsageError
from otolith.inference.card import Channel, Kind, Tokens
from otolith.inference.framing import Samples

SCHEMES = ("microphone", "recording", "pipe", "serial", "mqtt", "mqtts")
SECRETS = {"user", "username", "password"}
LATE = "the daemon was late"

PACED_BLOCK_S = 0.04
UNPACED_BLOCK_S = 1.0


class Block(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Samples `(n,)` int16 or float32, sensor rows `(n, channels)` float32, or token ids `(n,)` int64, of any length.

    `time_ns` is the UTC capture time of the last of them; `lost` samples went missing before the first, for `reason`.
    A block may be empty and only tell of a loss: nothing is heard then, and the reason is why. `rate` is how many
    samples a second there are from here on, where that is not what the source said before. `ends`: an utterance is over
    behind it. `stamps_s` `(n,)` are the rows' times by their sensor's own clock, NaN of one without; what they tell is
    said by the other fields once `Timed` has read them.
    """

    samples: Samples
    time_ns: int
    lost: int = 0
    reason: str = ""
    rate: float = 0.0
    ends: bool = False
    stamps_s: NDArray[np.float64] | None = None


class Wanted(Protocol):
    """What is wanted of a source: a model's `Card` says it, or whoever has no model."""

    @property
    def kind(self) -> Kind:
        """Sound, rows or tokens."""

    @property
    def sample_rate(self) -> float:
        """Samples or rows a second, where a source does not know better."""

    @property
    def channels(self) -> Sequence[Channel]:
        """The columns of a row, in order."""

    @property
    def tokens(self) -> Tokens | msgspec.UnsetType:
        """How text is cut, where tokens are wanted."""


class Source(Protocol):
    """Where blocks come from. `live` sources go on without us: whoever reads them late loses the oldest blocks."""

    @property
    def rate(self) -> float:
        """Samples (or rows) a second; 0 where a sensor does not say."""

    @property
    def live(self) -> bool:
        """Does the world go on while nobody reads?"""

    def blocks(self, stop: Event) -> Iterator[Block]:
        """Yield blocks until the input ends or `stop` is set. Raises `SourceError` when the source fails."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A source's spec, taken apart: `scheme:target?option=value&...`."""

    text: str
    scheme: str
    target: str
    options: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Raises `UsageError` on a scheme that is not known, and on a secret, which it does not repeat."""
        scheme, colon, rest = text.partition(":")
        if not colon or scheme not in SCHEMES:
            known = ", ".join(f"{name}:" for name in SCHEMES)
            raise UsageError(f"source {text!r}: begins with none of {known}; write for example recording:clip.wav")
        target, _, query = rest.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        if scheme.startswith("mqtt") and (
            "@" in target.removeprefix("//").partition("/")[0] or set(options) & set(SECRETS)
        ):
            raise UsageError(
                f"source {scheme}://...: holds a user or a password, which everybody could read; "
                "write them in a file and name it with ?login=FILE"
            )
        return cls(text, scheme, target, options)

    def allow(self, *names: str) -> None:
        """Raises `UsageError` where an option is none of `names`."""
        if unknown := sorted(set(self.options) - set(names)):
            known = f"it knows {', '.join(names)}" if names else "it has none"
            raise UsageError(f"source {self.text!r}: unknown option {', '.join(unknown)}; {known}")

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """An option that is one of `allowed`, the first where it is not given."""
        value = self.options.get(name, allowed[0])
        if value not in allowed:
            raise UsageError(f"source {self.text!r}: {name} is {value!r}; it must be one of {', '.join(allowed)}")
        return value

    def whole(self, name: str, default: int, lowest: int, highest: int) -> int:
        """An option that is a whole number within bounds."""
        value = self.options.get(name, str(default))
        if not value.isdecimal() or not lowest <= int(value) <= highest:
            raise UsageError(f"source {self.text!r}: {name} is {value!r}; it must be from {lowest} to {highest}")
        return int(value)

    def names(self, name: str) -> list[str]:
        """An option that names columns: `a,b,c`; none where it is not given."""
        value = self.options.get(name)
        names = [] if value is None else [each.strip() for each in value.split(",")]
        if not all(names) or len(set(names)) < len(names):
            raise UsageError(f"source {self.text!r}: {name} is {value!r}; name each column once, as in t,acc_x,acc_y")
        return names


class Pace:
    """When a moment of a recording is due, and the UTC time it stands for."""

    def __init__(self, paced: bool, start_ns: int | None) -> None:
        self.block_s = PACED_BLOCK_S if paced else UNPACED_BLOCK_S
        self._paced = paced
        self._start_s = time.monotonic()
        self._start_ns = time.time_ns() if start_ns is None else start_ns

    def reach(self, elapsed_s: float, stop: Event) -> bool:
        """Wait until `elapsed_s` into the recording; False where `stop` came first."""
        wait_s = self._start_s + elapsed_s - time.monotonic() if self._paced else 0.0
        return not (stop.wait(wait_s) if wait_s > 0 else stop.is_set())

    def time_ns(self, elapsed_s: float) -> int:
        """The UTC time of a moment of the recording."""
        return self._start_ns + round(elapsed_s * 1e9)
