"""The states of many streams, as rows of one table: stepped where they lie, or gathered.

Every state has two places, and a step reads the one and writes the other. Rows that lie together from the start of a
bank (`largest_batch` rows) on are stepped there: nothing is copied. Others are gathered into a batch, stepped and
scattered back: copying a row costs about a tenth of stepping it, so no row that has nothing to hear is ever computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from otolith.inference.model import FRAME_TYPES, Bound, Floats, Frames, Model, State

Rows = slice | NDArray[np.intp]  # what an array of rows is indexed with; a slice copies nothing
AnyArray = TypeVar("AnyArray", bound=NDArray[np.generic])

MAX_BOUND = 1024  # calls kept bound; binding anew costs about as much as a small step


class Table:
    """Steps up to `largest_batch` rows of one model, up to `frames_per_step` frames each, at a time."""

    def __init__(self, model: Model, frames_per_step: int, largest_batch: int) -> None:
        self._model, self._largest_batch = model, largest_batch
        self._states: State = {
            name: np.zeros((2, 0, *a.shape[1:]), np.float32) for name, a in model.fresh_state(1).items()
        }
        self._places = bytearray()  # which of its two places holds a row's state
        size = largest_batch * frames_per_step * math.prod(model.card.frame_shape)
        self._frames: Frames = np.zeros(size, np.dtype(FRAME_TYPES[model.card.kind]))
        self._outputs = np.zeros(largest_batch * frames_per_step * math.prod(model.card.output_shape), np.float32)
        self._gathered, self._following = model.fresh_state(largest_batch), model.fresh_state(largest_batch)
        self._bound: dict[tuple[int, ...], Bound] = {}
        self._views: dict[tuple[int, int], tuple[Frames, Floats]] = {}

    @property
    def capacity(self) -> int:
        """How many rows there are."""
        return len(self._places)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._states = {name: grown(array, capacity, axis=1) for name, array in self._states.items()}
        self._places.extend(bytes(capacity - self.capacity))
        self._bound.clear()  # the arrays have moved

    def begin(self, row: int) -> None:
        """Row `row` starts afresh."""
        for array in self._states.values():
            array[:, row] = 0

    def remember(self, rows: NDArray[np.intp]) -> State:
        """A copy of the states of `rows`, `(rows, ...)` each."""
        at = self._current(rows)
        return {name: np.take(_flat(array), at, axis=0) for name, array in self._states.items()}

    def recall(self, row: int, state: Mapping[str, Floats]) -> None:
        """Row `row` goes on from `state`, `(1, ...)` each."""
        for name, array in self._states.items():
            array[self._places[row], row] = state[name][0]

    def inputs(self, streams: int, frames: int) -> Frames:
        """Where the next step's frames go, `(streams, frames, ...)`; write them before `step`."""
        return self._view(streams, frames)[0]

    def step(self, rows: list[int], frames: int) -> tuple[Rows, Floats]:
        """Step `rows` (rising) over `inputs`: how to index them, and outputs `(streams, frames, *output_shape)`."""
        first, count = rows[0], len(rows)
        if first % self._largest_batch == 0 and rows[-1] - first == count - 1:
            together = slice(first, first + count)
            place = self._places[first]
            if self._places.count(place, first, first + count) == count:
                self._call((frames, count, first, place)).step()
                self._places[together] = bytes([1 - place]) * count
                return together, self._view(count, frames)[1].copy()
        indices = np.array(rows, np.intp)
        self._step_gathered(indices, frames)
        return indices, self._view(count, frames)[1].copy()

    def _step_gathered(self, rows: NDArray[np.intp], frames: int) -> None:
        count = len(rows)
        at = self._current(rows)
        for name, array in self._states.items():
            np.take(_flat(array), at, axis=0, out=self._gathered[name][:count], mode="clip")
        self._call((frames, count)).step()
        for name, array in self._states.items():
            _flat(array)[at] = self._following[name][:count]

    def _current(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Where the states of `rows` lie in the flat tables."""
        return np.frombuffer(self._places, np.uint8)[rows].astype(np.intp) * self.capacity + rows

    def _call(self, key: tuple[int, ...]) -> Bound:
        """The bound call of `(frames, count)` gathered rows, or of `(frames, count, first, place)` where they lie."""
        bound = self._bound.get(key)
        if bound is None:
            if len(self._bound) >= MAX_BOUND:
                self._bound.clear()
            frames, count, *where = key
            if where:
                first, place = where
                state = {name: array[place, first : first + count] for name, array in self._states.items()}
                following = {name: array[1 - place, first : first + count] for name, array in self._states.items()}
            else:
                state = {name: array[:count] for name, array in self._gathered.items()}
                following = {name: array[:count] for name, array in self._following.items()}
            inputs, outputs = self._view(count, frames)
            bound = self._bound[key] = self._model.bind(inputs, state, outputs, following)
        return bound

    def _view(self, streams: int, frames: int) -> tuple[Frames, Floats]:
        """The first parts of the buffers, as the frames and the outputs of a batch."""
        view = self._views.get((streams, frames))
        if view is None:
            card = self._model.card
            view = self._views[streams, frames] = (
                _leading(self._frames, (streams, frames, *card.frame_shape)),
                _leading(self._outputs, (streams, frames, *card.output_shape)),
            )
        return view


def grown(array: AnyArray, capacity: int, axis: int = 0) -> AnyArray:
    """A longer copy of `array`, with zeros behind. The system gives memory for them only once they are written."""
    shape = list(array.shape)
    shape[axis] = capacity
    longer = np.zeros(shape, array.dtype)
    longer[(slice(None),) * axis + (slice(array.shape[axis]),)] = array
    return longer  # type: ignore[return-value]


def _leading(buffer: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    return buffer[: math.prod(shape)].reshape(shape)  # type: ignore[return-value]


def _flat(array: Floats) -> Floats:
    """`(2, capacity, ...)` as `(2 * capacity, ...)`."""
    return array.reshape(-1, *array.shape[2:])
