"""The oracle of all fault tests: what a subscriber was told of a stream is what its generator sent, sample for sample.

A generator that tells capture times as a function of its count gives every message a place among its samples, so that
a hole or a sample told twice is seen as such and cannot be made up for by another.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Event, Thread
from typing import Self

import numpy as np
from numpy.typing import NDArray

from otolith import Model, Stream, Subscriber
from otolith.inference.events import Posteriors
from otolith.wire.messages import AnyMessage, GapMessage, Kind, PosteriorsMessage, StatusMessage, kind_of

RATE, HOP = 16000, 320
BLOCK = 100 * HOP  # of what the model is given in one call


@dataclass(slots=True)
class Sent:
    """What a generator knows: `pcm` is what it repeats, `total` how much of that it sent, `began_ns` when its first
    sample was captured; 0 where its capture times are not its own to tell. `held` frames go out in one message."""

    name: str
    pcm: NDArray[np.int16]
    began_ns: int = 0
    total: int = 0
    held: int = 1

    def index_of(self, time_ns: int) -> int:
        """How many samples had been captured by then."""
        return round((time_ns - self.began_ns) * RATE / 1e9)

    def samples(self, start: int, stop: int) -> NDArray[np.int16]:
        return self.pcm[np.arange(start, stop) % len(self.pcm)]


class Witness:
    """A subscriber that records everything, in a thread of its own, through all lives of the daemon."""

    def __init__(self, endpoint: str) -> None:
        self.messages: list[AnyMessage] = []
        self.heard_s: list[float] = []  # when each came
        self._stop = Event()
        self._subscriber = Subscriber(endpoint)
        self._thread = Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            if (message := self._subscriber.receive(0.1)) is not None:
                self.heard_s.append(time.monotonic())
                self.messages.append(message)

    @property
    def missed(self) -> int:
        return self._subscriber.missed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._subscriber.close()


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples `start` to `stop` of a stream, as one message tells of them."""

    start: int
    stop: int
    message: PosteriorsMessage | GapMessage


@dataclass(slots=True)
class Verdict:
    """How a stream fared, in samples.

    `unheard` were told before the witness was there, as statuses say. `untold` lie between two boots, and nobody
    declared them. `twice` were told by one boot and again by the next, which goes on from a checkpoint and cannot know
    what had left since. `left` were sent, and neither predicted nor lost yet.
    """

    stream: str
    sent: int
    predicted: int = 0
    lost: int = 0
    unheard: int = 0
    untold: int = 0
    twice: int = 0
    left: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


def judge(messages: Iterable[AnyMessage], sent: Sent, model: Model | None = None, tolerance: float = 1e-4) -> Verdict:
    """Hold what was told of one stream against what was sent. Raises `AssertionError` where a law does not hold.

    With a `model`, posteriors must be what it says of those very samples, as long as it was the one.
    """
    mine = [m for m in messages if m.stream == sent.name]
    check_numbers(mine)
    pieces = [m for m in mine if isinstance(m, PosteriorsMessage | GapMessage)]
    verdict = Verdict(sent.name, sent.total, unheard=check_statuses(mine, sent.held))
    for message in pieces:
        if isinstance(message, GapMessage):
            verdict.lost += message.lost
            verdict.reasons[message.reason] = verdict.reasons.get(message.reason, 0) + message.lost
        else:
            verdict.predicted += message.frames * HOP
    if sent.began_ns:
        placed = [place(message, sent) for message in pieces]
        check_places(placed, verdict)
        if model is not None:
            check_values(placed, sent, model, tolerance)
        verdict.untold -= verdict.unheard
    verdict.left = sent.total - verdict.predicted - verdict.lost - verdict.unheard - verdict.untold + verdict.twice
    assert verdict.left >= 0, f"{verdict}: more was told of than was sent"
    return verdict


def check_numbers(messages: Sequence[AnyMessage]) -> None:
    """Sequence numbers rise by one, for each boot and kind, from the first that was heard."""
    numbers: dict[tuple[str, Kind], list[int]] = defaultdict(list)
    for message in messages:
        numbers[message.boot, kind_of(message)].append(message.seq)
    for (boot, kind), seqs in numbers.items():
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), f"{messages[0].stream}, {kind} of {boot}: {seqs}"


def check_statuses(messages: Sequence[AnyMessage], held: int) -> int:
    """A status counts what the posteriors and gaps before it told, within its boot, and frames that are still held.

    How many samples the first ones of all boots count that nobody was there to hear of.
    """
    unheard = 0
    frames: dict[str, int] = defaultdict(int)
    lost: dict[str, int] = defaultdict(int)
    since: dict[str, StatusMessage] = {}
    for message in messages:
        boot = message.boot
        if isinstance(message, PosteriorsMessage):
            frames[boot] += message.frames
        elif isinstance(message, GapMessage):
            lost[boot] += message.lost
        elif isinstance(message, StatusMessage):
            if boot not in since:
                frames_before = message.frames - frames[boot]
                unheard += message.lost - lost[boot] + (frames_before if frames_before >= held else 0) * HOP
            first = since.setdefault(boot, message)
            if first is message or message.frames < first.frames:  # begun again under its name: it counts anew
                since[boot], frames[boot], lost[boot] = message, 0, 0
            else:
                told = f"{message.stream}: {message} behind {first}, {frames[boot]} frames, {lost[boot]} lost"
                assert abs(message.frames - first.frames - frames[boot]) < held, told
                assert message.lost - first.lost == lost[boot], told
    return unheard


def place(message: PosteriorsMessage | GapMessage, sent: Sent) -> Piece:
    at = sent.index_of(message.time_ns)
    if isinstance(message, GapMessage):
        return Piece(at, at + message.lost, message)
    return Piece(at - message.frames * HOP, at, message)


def check_places(pieces: Sequence[Piece], verdict: Verdict) -> None:
    """Within a boot each piece begins where the one before ended; between two, untold and told twice are noted."""
    where = f"stream {verdict.stream}"
    for before, after in pairwise(pieces):
        apart = after.start - before.stop
        if before.message.boot == after.message.boot:
            assert apart == 0, f"{where}: {before} and {after} are {apart} samples apart"
        elif apart < 0:
            verdict.twice -= apart
        else:
            verdict.untold += apart
    if pieces:
        assert 0 <= pieces[-1].stop <= verdict.sent, f"{where}: {pieces[-1]} lies beyond the {verdict.sent} sent"
        verdict.untold += pieces[0].start


def check_values(pieces: Sequence[Piece], sent: Sent, model: Model, tolerance: float) -> None:
    """Each run behind a fresh start is what the model says of the run's samples, up to another model's first word."""
    run: list[Piece] = []
    for piece in [*pieces, None]:
        posteriors = piece.message if piece and isinstance(piece.message, PosteriorsMessage) else None
        if posteriors is None or not run or posteriors.boot != run[-1].message.boot:
            check_run(run, sent, model, tolerance)
            run = []
        if piece and posteriors and (run or posteriors.position == posteriors.frames * HOP):
            run.append(piece)


def check_run(run: Sequence[Piece], sent: Sent, model: Model, tolerance: float) -> None:
    told = [m.array() for m in (p.message for p in run) if isinstance(m, PosteriorsMessage)]
    if any(piece.message.model != model.identity for piece in run) or not run:
        return
    stream, expected = Stream(model), []
    for start in range(run[0].start, run[-1].stop, BLOCK):
        events = stream.push(sent.samples(start, min(start + BLOCK, run[-1].stop)))
        expected += [event.values for event in events if isinstance(event, Posteriors)]
    np.testing.assert_allclose(np.concatenate(told), np.concatenate(expected), atol=tolerance, err_msg=sent.name)
