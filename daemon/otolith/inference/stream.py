"""A stream: what one listener owns, and the one way from samples to events.

The daemon, `otolith infer`, the evaluation and the export's last check all push blocks through this class, so that
what was measured is what runs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np

from otolith.inference.card import Trigger
from otolith.inference.detector import Detector
from otolith.inference.events import Detection, Event, Gap
from otolith.inference.framing import Framer, Samples, fault_of, size_of_vocabulary
from otolith.inference.judge import ONE, Judge
from otolith.inference.level import Level, levels
from otolith.inference.memory import Memory
from otolith.inference.model import Floats, Model, State
from otolith.inference.utterance import ENDED, verdict

# A recording read whole would otherwise ask the graph for gigabytes of intermediate values.
MAX_FRAMES_PER_STEP = 512

END = "the input ended within a frame"
FIRST = np.zeros(1, np.intp)  # the only row of what a stream asks of others


class Stream:
    """One listener of a shared model: the samples left over, the state, and the detector's memory.

    `triggers` replace the card's, label by label. `position` counts samples (or rows) behind the last posteriors since
    the fresh start; `received` counts what was pushed since then.
    """

    position: int
    _opinion: Floats | None  # the last posteriors `(labels,)`, of a model that classifies
    _framer: Framer
    _state: State
    _detector: Detector
    _judge: Judge

    def __init__(self, model: Model, triggers: Mapping[str, Trigger] | None = None) -> None:
        self.model = model
        self._level = Level()
        self._triggers = {**model.card.detector, **(triggers or {})}
        self._classifies = model.card.task == "classify"
        self._vocabulary = size_of_vocabulary(model.card)
        self._begin(first_id=0)

    @property
    def received(self) -> int:
        """Samples pushed since the fresh start."""
        return self.position + self._framer.waiting

    def push(self, samples: Samples) -> list[Event]:
        """Events of a block of samples `(n,)` or rows `(n, channels)`, float32 or (samples only) int16, or of token ids
        `(n,)`, int64.

        A block that holds NaN or infinity, or no token of the model's, is declared lost, whole.
        """
        if samples.dtype != np.int16 and (fault := fault_of(samples, self._vocabulary)):
            return self.gap(len(samples), fault)
        frames = self._framer.push(samples)
        events: list[Event] = []
        for start in range(0, len(frames), MAX_FRAMES_PER_STEP):
            chunk = frames[None, start : start + MAX_FRAMES_PER_STEP]
            for extremes in levels(chunk):
                self._level.add(*extremes, chunk[0].size)
            outputs, self._state = self.model.step(chunk, self._state)
            judged, scores = self._judge.push(ONE, chunk, outputs)
            detections = self._detector.push(judged[0], self.position)
            if self._classifies:
                self._opinion = outputs[0, -1]
            self.position += outputs.shape[1] * self.model.card.hop_length
            events.append(self._judge.told(self.position, outputs[0], None if scores is None else scores[0]))
            events.extend(self._judge.named(detections))
        return events

    def gap(self, lost: int, reason: str) -> list[Event]:
        """Declare `lost` samples, end what was active and start afresh.

        Samples that waited for the rest of their frame are lost with it and counted.
        """
        events: list[Event] = self._judge.named(self._detector.close(self.position))
        events.append(Gap(self.position, lost + self._framer.waiting, reason))
        self._begin(self._detector.next_id)
        return events

    def end_utterance(self) -> list[Event]:
        """An utterance is over: its verdict, of a model that classifies, and a fresh start. Nothing of an empty one."""
        if not self.received:
            return []
        events: list[Event] = [*self._judge.named(self._detector.close(self.position)), *self._verdict()]
        events.append(Gap(self.position, self._framer.waiting, ENDED))
        self._begin(self._detector.next_id)
        return events

    def close(self) -> list[Event]:
        """Events at the end of the input: what was active ends, an utterance has its verdict, and samples that fill no
        frame are declared lost."""
        events: list[Event] = [*self._verdict()]
        if self._framer.waiting:
            return events + self.gap(0, END)
        return [*self._judge.named(self._detector.close(self.position)), *events]

    def take_level(self) -> Level:
        """Of the samples that were stepped since this was asked last."""
        level, self._level = self._level, Level()
        return level

    def remember(self) -> Memory:
        """All that is known of what was heard, as a value of its own."""
        rows = {name: array.copy() for name, array in self._state.items()} | self._judge.remember(FIRST)
        smoothed = np.zeros((1, len(self.model.card.judged)), np.float32)
        smoothed[0, self._detector.columns] = self._detector.smoothed
        rows |= {"smoothed": smoothed, "peak": np.zeros_like(smoothed)}
        if self._classifies:
            rows["opinion"] = np.zeros_like(smoothed) if self._opinion is None else self._opinion[None].copy()
        waiting: list[Samples] = [self._framer.carry] if self._framer.waiting else []
        return Memory(self.position, self._detector.next_id, self._detector.remember(), waiting, rows)

    def recall(self, memory: Memory) -> list[Event]:
        """Go on where another stream or seat of the same model stood; events of whole frames that waited there."""
        self._begin(memory.next_id)
        self.position = memory.position
        self._state = {name: memory.rows[name].copy() for name in self._state}
        self._judge.recall(0, memory.rows)
        self._detector.recall(memory.labels, memory.next_id)
        self._detector.smoothed[:] = memory.rows["smoothed"][0, self._detector.columns]
        self._detector.raise_peaks(memory.rows["peak"][0, self._detector.columns].tolist())
        if self._classifies and memory.rows["opinion"].any():  # zeros: nothing was heard
            self._opinion = memory.rows["opinion"][0].copy()
        return [event for block in memory.waiting for event in self.push(block)]

    def skip(self, lost: int, reason: str) -> list[Event]:
        """Declare `lost` samples and go on with what was known before them, as `Seat.skip`."""
        lost += self._framer.waiting
        self._framer = Framer(self.model.card)
        self.position += lost
        return [Gap(self.position - lost, lost, reason)]

    def fork(self) -> Stream:
        """A copy that goes its own way from here: what one hears, the other does not. The model stays shared."""
        twin = copy.copy(self)  # state is a value: each step makes a new one
        twin._framer = copy.deepcopy(self._framer)
        twin._level = copy.copy(self._level)
        twin._detector = copy.deepcopy(self._detector)
        twin._judge = copy.deepcopy(self._judge)
        return twin

    def _verdict(self) -> list[Detection]:
        opinion, self._opinion = self._opinion, None
        if opinion is None:
            return []
        number, self._detector.next_id = self._detector.next_id, self._detector.next_id + 1
        return verdict(self.model.card, opinion, self.position, number)

    def _begin(self, first_id: int) -> None:
        self.position = 0
        self._opinion = None
        self._framer = Framer(self.model.card)
        self._state = self.model.fresh_state()
        self._judge = Judge(self.model.card)
        self._judge.grow(1)
        self._detector = Detector(self.model.card, self._triggers, first_id)
