"""The engine: many streams of one model, stepped as one batch.

A call of the runtime costs as much as several frames, and one frame of 64 streams a tenth of 64 frames of one each. So
streams leave their samples, and one step serves all that have a whole frame. Time is the caller's: the engine counts
samples, and is asked to step.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from operator import attrgetter

import numpy as np

from otolith.inference.card import Trigger
from otolith.inference.detector import Detector
from otolith.inference.detectors import Detectors
from otolith.inference.events import Detection, Event, Gap, Posteriors
from otolith.inference.framing import INT16, INT16_SCALE, Backlog, Samples, fault_of, size_of_vocabulary, to_floats
from otolith.inference.judge import Judge
from otolith.inference.level import Level, levels
from otolith.inference.memory import Memories, Memory
from otolith.inference.model import Floats, Model
from otolith.inference.rows import Table
from otolith.inference.stream import END
from otolith.inference.utterance import ENDED, verdict

FRAMES_PER_STEP = 4
LARGEST_BATCH = 64


class Seat:
    """One stream's place in an engine: a `Stream` whose events come when the engine steps. Made by `Engine.add`.

    What a `Stream` would say of the same blocks, a seat says too; only later, and in other portions. `position` and
    `received` are as a stream's.
    """

    __slots__ = (
        "_engine", "_hop_length", "_waiting", "backlog", "detector", "level", "model", "opinion", "position", "row",
    )  # fmt: skip

    def __init__(self, engine: Engine, row: int, detector: Detector) -> None:
        self._engine, self.row, self.detector = engine, row, detector
        self.model = engine.model
        self._hop_length, self._waiting = self.model.card.hop_length, engine._waiting
        self.backlog = Backlog(self.model.card)
        self.position = 0
        self.level = Level()  # of what was stepped since `take_level`, where the engine looks at levels
        self.opinion: Floats | None = None  # the last posteriors, of a model that classifies

    @property
    def engine(self) -> Engine:
        """Where it is stepped."""
        return self._engine

    @property
    def received(self) -> int:
        """Samples pushed since the fresh start."""
        return self.position + self.backlog.samples

    def push(self, samples: Samples) -> list[Event]:
        """Leave a block for the next step: samples `(n,)`, float32 or int16, rows `(n, channels)` or token ids `(n,)`.

        The block is kept, not copied. Events come at once only where it would do harm: it is lost whole, as a stream's.
        """
        if samples.dtype is not INT16 and samples.dtype != INT16:  # the same object, nearly always
            if fault := fault_of(samples, self._engine.vocabulary):
                return self.gap(len(samples), fault)
            self._engine._all_int16 = False
        if self.row < 0:
            raise ValueError("this seat was given back to its engine; add another")
        if self.backlog.push(samples) >= self._hop_length:
            self._waiting[self] = None
        return []

    def step(self) -> list[Event]:
        """Step what waits, without company."""
        return self._engine._step_alone(self)

    def gap(self, lost: int, reason: str) -> list[Event]:
        """Declare `lost` samples: step what waits, end what was active and start afresh."""
        events = self._engine._step_alone(self)
        events += self._end_active()
        events.append(Gap(self.position, lost + self.backlog.clear(), reason))
        self._engine._begin(self)
        return events

    def end_utterance(self) -> list[Event]:
        """The utterance is over: step what waits, the verdict, and a fresh start; nothing if it was empty."""
        if not self.received:
            return []
        events = self._engine._step_alone(self)
        events += self._end_active()
        events += self._verdict()
        events.append(Gap(self.position, self.backlog.clear(), ENDED))
        self._engine._begin(self)
        return events

    def close(self) -> list[Event]:
        """Events at the end of the input; the seat is given back to the engine and must not be used again."""
        events = self._engine._step_alone(self)
        told = self._verdict()
        if self.backlog.samples:
            events += told
            events += self.gap(0, END)
        else:
            events += self._end_active()
            events += told
        self._engine._give_back(self)
        return events

    def leave(self) -> list[Event]:
        """As `close`, where another seat goes on from the same frame: what waits is its, and nothing is lost."""
        events: list[Event] = [*self._end_active()]
        self._waiting.pop(self, None)
        self.backlog.clear()
        self._engine._give_back(self)
        return events

    def follow(self, other: Seat) -> None:
        """Go on where `other` stands, with its numbers. What was smoothed or active until now is forgotten."""
        self.position, self.detector.next_id = other.position, other.detector.next_id
        self.detector.forget()
        self._engine._detectors.begin(self.row, self.detector)

    def remember(self) -> Memory:
        """All that is known of what was heard; many seats are asked at once by `Engine.remember`."""
        return self._engine.remember([self])[0]

    def recall(self, memory: Memory) -> list[Event]:
        """Go on where another seat or stream of the same model stood; what waited there is stepped next."""
        engine, rows = self._engine, memory.rows
        engine._begin(self)
        self.position = memory.position
        self.detector.recall(memory.labels, memory.next_id)
        engine._table.recall(self.row, rows)
        engine._judge.recall(self.row, rows)
        engine._detectors.recall(self.row, self.detector, rows["smoothed"][0], rows["peak"][0])
        if engine._classifies and rows["opinion"].any():  # zeros: nothing was heard
            self.opinion = rows["opinion"][0].copy()
        return [event for block in memory.waiting for event in self.push(block)]

    def skip(self, lost: int, reason: str) -> list[Event]:
        """Declare `lost` samples and go on with what was known before them: the one gap that is no fresh start.

        Nothing is made of samples from both sides: those that wait for the rest of their frame are lost as well. The
        position counts what was lost.
        """
        events = self._engine._step_alone(self)
        lost += self.backlog.clear()
        events.append(Gap(self.position, lost, reason))
        self.position += lost
        return events

    def take_level(self) -> Level:
        """Of the samples that were stepped since this was asked last; the engine must look at levels."""
        level, self.level = self.level, Level()
        return level

    def _verdict(self) -> list[Detection]:
        opinion, self.opinion = self.opinion, None
        if opinion is None:
            return []
        number, self.detector.next_id = self.detector.next_id, self.detector.next_id + 1
        return verdict(self.model.card, opinion, self.position, number)

    def _end_active(self) -> list[Event]:
        self._engine._detectors.settle(self.row, self.detector)
        return self._engine._judge.named(self.detector.close(self.position))


class Engine:
    """Steps the streams of one model together, up to `largest_batch` of them and `frames_per_step` frames at a time.

    With `looks_at_levels` it also notes how loud each stream is: of a whole batch that costs little more than of one.
    """

    def __init__(
        self,
        model: Model,
        frames_per_step: int = FRAMES_PER_STEP,
        largest_batch: int = LARGEST_BATCH,
        *,
        looks_at_levels: bool = False,
    ) -> None:
        self.model = model
        self._looks_at_levels = looks_at_levels
        self._classifies = model.card.task == "classify"
        self.vocabulary = size_of_vocabulary(model.card)  # 0 for sound and rows
        self._frames_per_step, self._largest_batch = frames_per_step, largest_batch
        self._hop_length = model.card.hop_length
        self._table = Table(model, frames_per_step, largest_batch)
        self._judge, self._forecasts = Judge(model.card), model.card.output == "forecast"
        self._detectors = Detectors(len(model.card.judged))
        self._free: list[int] = []  # a heap: the lowest rows are taken first, so that streams lie together
        self._waiting: dict[Seat, None] = {}  # those with a whole frame, in the order they came
        self._all_int16 = True  # whether no stream has brought anything else
        self._int16 = np.zeros(largest_batch * frames_per_step * self._hop_length, np.int16)

    @property
    def streams(self) -> int:
        """How many seats are taken."""
        return self._table.capacity - len(self._free)

    @property
    def waiting(self) -> int:
        """How many streams have a whole frame to step."""
        return len(self._waiting)

    @property
    def full(self) -> int:
        """How many streams have as many frames as go in one call."""
        return sum(seat.backlog.frames >= self._frames_per_step for seat in self._waiting)

    def add(self, triggers: Mapping[str, Trigger] | None = None) -> Seat:
        """A seat for a stream that has heard nothing. `triggers` replace the card's, label by label."""
        if not self._free:
            capacity = max(1, 2 * self._table.capacity)
            self._free = list(range(self._table.capacity, capacity))
            self._table.grow(capacity)
            self._detectors.grow(capacity)
            self._judge.grow(capacity)
        card = self.model.card
        seat = Seat(self, heapq.heappop(self._free), Detector(card, {**card.detector, **(triggers or {})}))
        self._begin(seat)
        return seat

    def remember(self, seats: Sequence[Seat]) -> Memories:
        """What each of `seats` knows. The rows of all are copied at once; blocks that wait are kept, not copied."""
        rows = np.array([seat.row for seat in seats], np.intp)
        known = {**self._table.remember(rows), **self._detectors.remember(rows), **self._judge.remember(rows)}
        if self._classifies:
            unheard = np.zeros(len(self.model.card.labels), np.float32)
            known["opinion"] = np.stack([unheard if seat.opinion is None else seat.opinion for seat in seats])
        minds = [
            (seat.position, seat.detector.next_id, seat.detector.remember(), [*seat.backlog.blocks]) for seat in seats
        ]
        return Memories(minds, known)

    def step(self, *, all_waiting: bool = True) -> list[tuple[Seat, list[Event]]]:
        """Step what waits, in as few calls as go: events by seat, each seat's in order.

        Unless `all_waiting`, only frames that fill a call (`frames_per_step` of one stream); the others stay.
        """
        told: list[tuple[Seat, list[Event]]] = []
        while ready := self._ready(all_waiting):
            for frames, seats in ready.items():
                for batch in self._batches(seats):
                    told += self._step(batch, frames)
        return told

    def _begin(self, seat: Seat) -> None:
        """Nothing is left of what the seat's row held, nor of what waited."""
        seat.position = 0
        seat.opinion = None
        seat.detector.forget()
        self._table.begin(seat.row)
        self._detectors.begin(seat.row, seat.detector)
        self._judge.begin(seat.row)

    def _give_back(self, seat: Seat) -> None:
        self._detectors.begin(seat.row, seat.detector)  # nothing of it is active any more
        heapq.heappush(self._free, seat.row)
        seat.row = -1

    def _step_alone(self, seat: Seat) -> list[Event]:
        """Step what waits of one stream, for it must not wait for company."""
        events: list[Event] = []
        while frames := min(seat.backlog.frames, self._frames_per_step):
            for _, told in self._step([seat], frames):
                events += told
        return events

    def _ready(self, all_waiting: bool) -> dict[int, list[Seat]]:
        """Seats by how many frames each can step now."""
        ready: dict[int, list[Seat]] = {}
        most, hop = self._frames_per_step, self._hop_length
        for seat in self._waiting:
            frames = seat.backlog.samples // hop
            if frames >= most:
                frames = most
            elif not all_waiting:
                continue
            if frames in ready:
                ready[frames].append(seat)
            else:
                ready[frames] = [seat]
        return ready

    def _batches(self, seats: list[Seat]) -> list[list[Seat]]:
        """Cut into batches: first whole banks, which are stepped where they lie, then what is left."""
        seats.sort(key=attrgetter("row"))
        size = self._largest_batch
        if len(seats) <= size:
            return [seats]
        batches, left, start = [], [], 0
        while start < len(seats):
            batch = seats[start : start + size]
            if batch[0].row % size == 0 and batch[-1].row - batch[0].row == size - 1:
                batches.append(batch)
                start += size
            else:
                left.append(seats[start])
                start += 1
        return batches + [left[start : start + size] for start in range(0, len(left), size)]

    def _step(self, seats: list[Seat], frames: int) -> list[tuple[Seat, list[Event]]]:
        self._fill(seats, frames)
        rows, values = self._table.step([seat.row for seat in seats], frames)
        starts = [seat.position for seat in seats]
        judged, scores = values, None
        if self._forecasts:
            judged, scores = self._judge.push(rows, self._table.inputs(len(seats), frames), values)
        found = self._detectors.push(rows, [seat.detector for seat in seats], judged, starts)
        if self._classifies:
            for seat, posteriors in zip(seats, values, strict=True):
                seat.opinion = posteriors[-1]
        told: list[tuple[Seat, list[Event]]] = []
        hop, waiting = self._hop_length, self._waiting
        length = frames * hop
        if self._looks_at_levels:
            for seat, extremes in zip(seats, levels(self._table.inputs(len(seats), frames)), strict=True):
                seat.level.add(*extremes, length)
        for place, (seat, outputs) in enumerate(zip(seats, values, strict=True)):
            seat.position += length
            if not self._forecasts:  # nearly all models: one call less
                told.append((seat, [Posteriors(seat.position, outputs)]))
            else:
                mine = None if scores is None else scores[place]
                told.append((seat, [self._judge.told(seat.position, outputs, mine)]))
            if seat.backlog.samples < hop:
                del waiting[seat]
        for place, detections in found.items():
            told[place][1].extend(self._judge.named(detections))
        return told

    def _fill(self, seats: list[Seat], frames: int) -> None:
        """Put the seats' oldest frames into the bound input; int16 is scaled for all of them at once."""
        inputs = self._table.inputs(len(seats), frames)
        pieces: list[Samples] = []
        for seat in seats:
            pieces += seat.backlog.take(frames)
        flat = inputs.reshape(-1, *pieces[0].shape[1:])  # (samples,) or (rows, channels)
        if self.vocabulary:
            np.concatenate(pieces, out=flat)
        elif self._all_int16 or all(piece.dtype == INT16 for piece in pieces):
            whole = pieces[0]
            if len(pieces) > 1:  # into a buffer of our own: one of a batch's size would be mapped anew at each step
                whole = np.concatenate(pieces, out=self._int16[: len(flat)])
            np.multiply(whole, INT16_SCALE, out=flat)
        else:
            np.concatenate([to_floats(piece) for piece in pieces], out=flat)
