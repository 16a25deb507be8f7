"""The card: everything a reader must know of a model that its graph does not say.

It stands as JSON in the model file's own metadata, and it is complete: reading fills in no default, so two readers
can never disagree on what a file promises.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

FORMAT = 1
METADATA_KEY = "otolith.card"
ANOMALY = "anomaly"  # the name of its trigger among those of labels
FULL_SCALE = "full scale"  # the unit of samples that are only known in parts of what their source can give

FLOAT32 = np.float32(1e-6)  # of a value: what is lost where it is rounded a few times

Floats = NDArray[np.float32]
Kind = Literal["audio", "sensor", "token"]
Cut = Literal["words", "characters", "lines"]


class Channel(msgspec.Struct, frozen=True):
    """One column of a frame: its name, and its unit as written in the data."""

    name: str
    unit: str


class Tokens(msgspec.Struct, frozen=True):
    """How text becomes tokens (see `tokenizer.py`).

    `cut` says what a token is: a word between white space, a character, or a whole line (a code, where an empty line
    ends an utterance). A token's id is its place in `vocabulary`; whatever does not stand there is `unknown`, which
    does. `end` is the token that stands for the end of a line, where the model is to be told of it.
    """

    cut: Cut
    lower: bool
    vocabulary: list[str]
    unknown: str
    end: str | None


class Utterance(msgspec.Struct, frozen=True):
    """When an utterance is over, of a model that tells one label of each.

    Of sound: behind `silence_s` in which no sample rose above `silence_dbfs`, if something did before. 0: silence ends
    none. Lines end those of text; and the end of a source always ends one.
    """

    silence_s: float
    silence_dbfs: float


class Trigger(msgspec.Struct, frozen=True):
    """When a label's posteriors become a detection; `Detector` says how each figure is used."""

    threshold: float
    release: float
    smoothing_s: float
    refractory_s: float


class DataSet(msgspec.Struct, frozen=True):
    """A set the model learned from."""

    name: str
    licence: str
    attribution: str
    fingerprint: str


class Made(msgspec.Struct, frozen=True):
    """When, with what and from which seed the file was made."""

    time: str
    versions: dict[str, str]
    seed: int


class Proof(msgspec.Struct, frozen=True):
    """A generated input (see `proof.py`) and the posteriors it must give from a fresh state.

    `posteriors` is a row a frame: what comes out of it, in C order where that has several axes.
    """

    seed: int
    frames: int
    scale: float
    posteriors: list[list[float]]


class Forecast(msgspec.Struct, frozen=True):
    """What a forecasting model says of each row: the `horizon` rows that follow it.

    `scale` is what one scaled unit is in each channel's own: its deviation over the training rows, as a rule.
    """

    horizon: int
    scale: list[float]


class Anomaly(msgspec.Struct, frozen=True):
    """How a live row is held against what was forecast for it, `lead` rows before; `watch.py` says how.

    An error is smoothed over `smoothing_rows`, and is as unlikely as those of the last `memory_rows` make it; nothing
    is said of the first `warm_up_rows`.
    """

    lead: int
    smoothing_rows: float
    memory_rows: float
    warm_up_rows: int


class Card(msgspec.Struct, frozen=True):
    """What a model promises. Field by field in `docs/model-format.md`.

    `sample_rate` is in Hz, of samples (audio), rows (sensor) or tokens; `hop_length` and `window_length` are in samples
    or rows; `latency_s` is how much sound the front end looks back over before a frame is complete. `full_scale` stands
    where samples have a unit: what a sample of 1 is in it.
    """

    format: int
    name: str
    kind: Kind
    sample_rate: float
    hop_length: int
    window_length: int
    channels: list[Channel]
    labels: list[str]
    background: str | None
    task: str
    detector: dict[str, Trigger]
    latency_s: float
    recipe: str
    data: list[DataSet]
    metrics: dict[str, Any]
    made: Made
    proof: Proof
    forecast: Forecast | msgspec.UnsetType = msgspec.UNSET  # where the task is forecast, and only there
    anomaly: Anomaly | msgspec.UnsetType = msgspec.UNSET  # where live rows are held against their forecasts
    tokens: Tokens | msgspec.UnsetType = msgspec.UNSET  # of kind token alone
    utterance: Utterance | msgspec.UnsetType = msgspec.UNSET  # of task classify alone
    full_scale: float | msgspec.UnsetType = msgspec.UNSET  # of kind audio alone, where samples have a unit

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """What one frame holds: `(hop_length,)` samples, `(channels,)` of a row, `()` for a token."""
        if self.kind == "audio":
            return (self.hop_length,)
        return (len(self.channels),) if self.kind == "sensor" else ()

    @property
    def is_language(self) -> bool:
        """Is it the next token that is told?"""
        return self.kind == "token" and self.task == "forecast"

    @property
    def output(self) -> str:
        """The graph's name of what comes out."""
        return "posteriors" if self.forecast is msgspec.UNSET else "forecast"

    @property
    def output_shape(self) -> tuple[int, ...]:
        """What comes out a frame: `(labels,)` posteriors, or a `(horizon, channels)` forecast."""
        if isinstance(self.forecast, Forecast):
            return (self.forecast.horizon, len(self.channels))
        return (len(self.labels),)

    def difference(self, found: Floats, expected: Floats) -> Floats:
        """How far outputs are from what was expected, for holding to a tolerance; `(..., values)` each, in C order.

        Posteriors as they are; forecasts in their channel's scale, less what float32 cannot hold of a large value.
        """
        distance: Floats = np.abs(found - expected)
        if not isinstance(self.forecast, Forecast):
            return distance
        scale = np.tile(np.array(self.forecast.scale, np.float32), self.forecast.horizon)
        return np.asarray(np.maximum(distance - FLOAT32 * np.abs(expected), 0) / scale, np.float32)

    @property
    def judged(self) -> list[str]:
        """What can start and end, and have a trigger: the labels, or `anomaly`."""
        return self.labels if self.anomaly is msgspec.UNSET else [ANOMALY]
