"""The card: everything a reader must know of a model that its graph does not say.

It stands as JSON in the model file's own metadata, and it is complete: reading fills in no default, so two readers
can never disagree on what a file promises.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from otolith.errors import ModelError

FORMAT = 1
METADATA_KEY = "otolith.card"
FULL_SCALE = "full scale"  # the unit of samples that are only known in parts of what their source can give

Kind = Literal["audio", "sensor", "token"]


class Channel(msgspec.Struct, frozen=True):
    """One column of a frame: its name, and its unit as written in the data."""

    name: str
    unit: str


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


class Card(msgspec.Struct, frozen=True):
    """What a model promises. Field by field in `docs/model-format.md`.

    `sample_rate` is in Hz, of samples (audio) or rows (sensor); `hop_length` and `window_length` are in samples or
    rows; `latency_s` is how much sound the front end looks back over before a frame is complete. `full_scale` stands
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
    full_scale: float | msgspec.UnsetType = msgspec.UNSET

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
    def output(self) -> str:
        """The graph's name of what comes out."""
        return "posteriors"

    @property
    def output_shape(self) -> tuple[int, ...]:
        """What comes out a frame: `(labels,)` posteriors."""
        return (len(self.labels),)


def read_card(text: str, where: str) -> Card:
    """Decode and check a card; `where` begins every message. Raises `ModelError`."""
    try:
        card = msgspec.json.decode(text, type=Card)
    except msgspec.ValidationError as error:
        raise ModelError(f"{where}: the card is not whole: {error}; export the model again") from None
    except msgspec.DecodeError as error:
        raise ModelError(f"{where}: the card is not JSON ({error}); export the model again") from None
    for fault in _faults(card):
        raise ModelError(f"{where}: card: {fault}")
    return card


def write_card(card: Card) -> str:
    """The card as it stands in a model file. Raises `ModelError` where a check at reading would refuse it."""
    text = msgspec.json.encode(card).decode()
    read_card(text, card.name)
    return text


def _faults(card: Card) -> list[str]:
    """What is wrong with a card whose types are right, each as a clause with its remedy."""
    faults = []
    if card.format != FORMAT:
        faults.append(f"format is {card.format}, this otolith reads {FORMAT}; use the release that wrote the file")
    if card.kind == "token":
        faults.append("kind is token, which this release does not step; use a sensor or an audio model")
    if not (math.isfinite(card.sample_rate) and 0 < card.sample_rate <= 1_000_000):
        faults.append(f"sample_rate is {card.sample_rate} Hz; it must be above 0 and at most 1000000")
    if not 1 <= card.hop_length <= card.window_length <= 1 << 20:
        faults.append(
            f"hop_length {card.hop_length} and window_length {card.window_length}: 1 <= hop <= window must hold"
        )
    if not card.channels or len({c.name for c in card.channels}) != len(card.channels):
        faults.append("channels must be named, each once")
    if not card.labels or len(set(card.labels)) != len(card.labels):
        faults.append("labels must be named, each once")
    if card.background is not None and card.background not in card.labels:
        faults.append(f"background {card.background!r} is none of the labels")
    if unknown := sorted(set(card.detector) - set(card.labels)):
        faults.append(f"detector names {', '.join(unknown)}, which are not labels")
    for label, trigger in card.detector.items():
        faults.extend(f"detector.{label}: {fault}" for fault in trigger_faults(trigger))
    if not 1 <= card.proof.frames <= 4096 or len(card.proof.posteriors) != card.proof.frames:
        faults.append(f"the proof holds {len(card.proof.posteriors)} rows for {card.proof.frames} frames")
    if any(len(row) != math.prod(card.output_shape) for row in card.proof.posteriors):
        faults.append("the proof's rows are not as long as the labels")
    faults += _scale_faults(card)
    return faults


def _scale_faults(card: Card) -> list[str]:
    """Only samples have a full scale: rows and forecasts stand in their units as they are."""
    scale = card.full_scale
    if scale is msgspec.UNSET:
        return []
    if card.kind != "audio":
        return [f"full_scale stands on a model of kind {card.kind}; only samples have one"]
    return [] if 0 < scale < math.inf else [f"full_scale is {scale}; it must be above 0"]


def trigger_faults(trigger: Trigger) -> list[str]:
    """What is wrong with a trigger, for a card or for a settings file that overrides one."""
    faults = []
    if not 0 < trigger.threshold <= 1:
        faults.append(f"threshold is {trigger.threshold}; it must be above 0 and at most 1")
    if not 0 <= trigger.release <= trigger.threshold:
        faults.append(f"release is {trigger.release}; it must lie between 0 and the threshold")
    if not 0 <= trigger.smoothing_s <= 60:
        faults.append(f"smoothing_s is {trigger.smoothing_s}; it must lie between 0 and 60 seconds")
    if not 0 <= trigger.refractory_s <= 3600:
        faults.append(f"refractory_s is {trigger.refractory_s}; it must lie between 0 and 3600 seconds")
    return faults
