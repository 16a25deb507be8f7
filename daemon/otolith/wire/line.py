"""The line between a daemon and its workers: where they meet, and what a message's third part tells of its stream.

Everything lies in one folder that nobody else may enter. It is no part of the public
wire and may change with any release.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path

from otolith.inference.card import Card
from otolith.wire.messages import ForecastMessage, GapMessage, Message, PosteriorsMessage, StatusMessage

PULSE = b"@pulse"  # the topic of a worker's word, once a second, that what it says arrives; its number is the payload


def worker_of(stream: bytes, workers: int) -> int:
    """Which of `workers` a stream belongs to: the same in every run and in every language.

    By the high bits of its CRC-32: the lowest are the same for names such as room-0 to room-3.
    """
    return zlib.crc32(stream) * workers >> 32


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a stream's messages have told of it: up to `seq` (as in a block's header) of the producer's run `boot`.

    Of a stream that the daemon opens itself, `boot` is empty and `seq` is a time, UTC in nanoseconds. One that
    `is_first` is where a stream began for this run of the daemon: nothing was told of it yet.
    """

    boot: str
    seq: int
    is_first: bool = False

    def encode(self) -> bytes:
        """A few bytes; those of the daemon's own streams end with a space."""
        return f"{'?' if self.is_first else ''}{self.seq} {self.boot}".encode()

    @classmethod
    def decode(cls, data: bytes) -> Standing:
        seq, _, boot = data.decode().partition(" ")
        return cls(boot, int(seq.removeprefix("?")), seq.startswith("?"))


@dataclass(frozen=True, slots=True)
class Line:
    """One worker's end: the private `folder`, its number there, which of its lives this is.

    `told_ns` says of streams that the daemon opens itself until when an earlier life had told of them; `of` is how many
    workers there are.
    """

    folder: str
    worker: int
    life: int
    told_ns: dict[str, int] = field(default_factory=dict)
    of: int = 1  # workers

    @property
    def messages(self) -> str:
        """Where all workers' messages go, as ZeroMQ's `[topic, payload, standing]`."""
        return f"ipc://{self.folder}/messages"

    def blocks(self, door: int) -> str:
        """Where a public door's blocks come from, `[sender, part, ..., standing]`; answers go back without the last.

        Each life has an address of its own, so that nothing for the dead is taken for the living.
        """
        return f"ipc://{self.folder}/{self.worker}-{self.life}-{door}"

    @property
    def notify(self) -> Path:
        """Where the worker says what systemd would be told."""
        return Path(self.folder) / f"{self.worker}.notify"


@dataclass(slots=True)
class _Account:
    """One stream: where it began, and how much of the model's samples was told since."""

    boot: str
    seq: int
    hop_length: int
    per_source_sample: float
    is_quiet: bool  # no posteriors are published: its status tells what was stepped
    told: int = 0
    frames: int = 0  # as its last status counted them
    lost: int = 0
    frames_before: int = 0  # those of models that it no longer has
    lost_before: int = 0

    def add(self, message: Message) -> None:
        match message:
            case PosteriorsMessage() | ForecastMessage():
                self.told += message.frames * self.hop_length
            case GapMessage():
                self.told += message.lost
            case StatusMessage():
                self.frames, self.lost = message.frames, message.lost
                if self.is_quiet:
                    frames, lost = message.frames - self.frames_before, message.lost - self.lost_before
                    self.told = frames * self.hop_length + lost

    def turn(self, hop_length: int, per_source_sample: float, *, is_quiet: bool) -> None:
        """What was told, another model has not: from here on its frames count."""
        self.seq += round(self.told / self.per_source_sample) if self.boot else 0
        self.told, self.frames_before, self.lost_before = 0, self.frames, self.lost
        self.hop_length, self.per_source_sample, self.is_quiet = hop_length, per_source_sample, is_quiet

    def standing(self, message: Message) -> Standing:
        if self.boot:
            return Standing(self.boot, self.seq + round(self.told / self.per_source_sample))
        if self.is_quiet or isinstance(message, PosteriorsMessage | ForecastMessage | GapMessage):
            self.seq = message.time_ns
        return Standing("", self.seq)


class Ledger:
    """What a worker's messages have told of each stream: counted from the messages themselves, in their order."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def open(self, stream: str, boot: str, seq: int, card: Card, rate: float, *, is_quiet: bool) -> None:
        """A stream begins at `seq` of its producer's run `boot` (empty: it is the daemon's own), at `rate` in Hz."""
        self._accounts[stream] = _Account(boot, seq, card.hop_length, _per_source_sample(card, rate), is_quiet)

    def turn(self, stream: str, card: Card, rate: float, *, is_quiet: bool) -> None:
        """Behind its last status, another model has taken over, or the same that tells otherwise."""
        if account := self._accounts.get(stream):
            account.turn(card.hop_length, _per_source_sample(card, rate), is_quiet=is_quiet)

    def close(self, stream: str) -> None:
        """Forget a stream."""
        self._accounts.pop(stream, None)

    def after(self, message: Message) -> bytes:
        """How the stream stands once `message` is out; nothing of a stream that was never opened."""
        account = self._accounts.get(message.stream)
        if account is None:
            return b""
        account.add(message)
        return account.standing(message).encode()


def _per_source_sample(card: Card, rate: float) -> float:
    return card.sample_rate / rate if card.kind == "audio" and rate > 0 else 1.0
