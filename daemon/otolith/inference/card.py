"""The card: everything a reader must know of a model that its graph does not say.

It stands as JSON in the model file's own metadata, and it is complete: reading fills in no default, so two readers
can never disagree on what a file promises.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from otolith.errors import ModelError

FORMAT = 1
METADATA_KEY = "otolith.card"
MAX_CARD_BYTES = 8 << 20
MAX_CARD_VALUES = 400_000  # each costs up to 72 bytes once read; a vocabulary of 8,192 words with its proof has 80,000
MAX_PROOF_VALUES = 1 << 22  # of its input
MAX_NAME = 128  # characters
ANOMALY = "anomaly"  # the name of its trigger among those of labels
FULL_SCALE = "full scale"  # the unit of samples that are only known in parts of what their source can give

FLOAT32 = np.float32(1e-6)  # of a value: what is lost where it is rounded a few times
LONGEST_REST_S = 31 * 86_400  # hourly rows may rest for days

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


def read_card(text: str, where: str) -> Card:
    """Decode and check a card; `where` begins every message. Raises `ModelError`."""
    if len(text) > MAX_CARD_BYTES or (values := text.count(",") + text.count("[") + text.count("{")) > MAX_CARD_VALUES:
        found = f"{len(text)} characters" if len(text) > MAX_CARD_BYTES else f"some {values} values"
        raise ModelError(f"{where}: the card holds {found}; {MAX_CARD_BYTES} and {MAX_CARD_VALUES} at most are read")
    try:
        card = msgspec.json.decode(text, type=Card)
    except msgspec.ValidationError as error:
        raise ModelError(f"{where}: the card is not whole: {error}; export the model again") from None
    except RecursionError:
        raise ModelError(f"{where}: the card is nested too deeply; export the model again") from None
    except (msgspec.DecodeError, UnicodeError) as error:
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
    if not (card.name.isprintable() and 1 <= len(card.name) <= MAX_NAME):
        faults.append(f"name is {card.name[:MAX_NAME]!r}; it must be 1 to {MAX_NAME} characters that can be printed")
    if card.format != FORMAT:
        faults.append(f"format is {card.format}, this otolith reads {FORMAT}; use the release that wrote the file")
    if not (math.isfinite(card.sample_rate) and 0 < card.sample_rate <= 1_000_000):
        faults.append(f"sample_rate is {card.sample_rate} Hz; it must be above 0 and at most 1000000")
    if not 1 <= card.hop_length <= card.window_length <= 1 << 20:
        faults.append(
            f"hop_length {card.hop_length} and window_length {card.window_length}: 1 <= hop <= window must hold"
        )
    if not card.channels or len({c.name for c in card.channels}) != len(card.channels):
        faults.append("channels must be named, each once")
    if (not card.labels and card.forecast is msgspec.UNSET) or len(set(card.labels)) != len(card.labels):
        faults.append("labels must be named, each once")
    if card.background is not None and card.background not in card.labels:
        faults.append(f"background {card.background!r} is none of the labels")
    if unknown := sorted(set(card.detector) - set(card.judged)):
        faults.append(f"detector names {', '.join(unknown)}, which are not labels")
    faults += _section_faults(card)
    for label, trigger in card.detector.items():
        faults.extend(f"detector.{label}: {fault}" for fault in trigger_faults(trigger))
    if unreadable := [name[:MAX_NAME] for name in _names(card) if not (name.isprintable() and len(name) <= MAX_NAME)]:
        faults.append(f"{unreadable[0]!r}: names are {MAX_NAME} characters at most, and can be printed")
    if not 0 <= card.proof.scale < math.inf or math.prod((card.proof.frames, *card.frame_shape)) > MAX_PROOF_VALUES:
        faults.append(f"the proof's input is over {MAX_PROOF_VALUES} values, or its scale no number")
    if not 1 <= card.proof.frames <= 4096 or len(card.proof.posteriors) != card.proof.frames:
        faults.append(f"the proof holds {len(card.proof.posteriors)} rows for {card.proof.frames} frames")
    if any(len(row) != math.prod(card.output_shape) for row in card.proof.posteriors):
        faults.append("the proof's rows are not as long as the labels")
    return [*faults, *_forecast_faults(card), *_scale_faults(card)]


def _names(card: Card) -> list[str]:
    """What is shown to people; a language's labels are its tokens, which may be anything."""
    names = [text for channel in card.channels for text in (channel.name, channel.unit)]
    return names if card.is_language else names + card.labels


def _forecast_faults(card: Card) -> list[str]:
    """What is wrong with what only forecasting models have."""
    forecast, anomaly = card.forecast, card.anomaly
    if not isinstance(forecast, Forecast):
        is_missing = card.task == "forecast" and not card.is_language
        found = ["task is forecast, and forecast is missing"] if is_missing else []
        return found if anomaly is msgspec.UNSET else [*found, "anomaly: needs a model that forecasts"]
    faults = []
    if card.kind != "sensor" or card.task != "forecast" or card.labels:
        faults.append(f"forecast: needs kind sensor, task forecast and no labels; found {card.kind}, {card.task}")
    if not 1 <= forecast.horizon <= 1024:
        faults.append(f"forecast.horizon is {forecast.horizon}; it must lie between 1 and 1024 rows")
    if len(forecast.scale) != len(card.channels) or not all(0 < s < math.inf for s in forecast.scale):
        faults.append("forecast.scale must hold a figure above 0 for each channel")
    if isinstance(anomaly, Anomaly):
        faults += anomaly_faults(anomaly, forecast.horizon)
        if ANOMALY not in card.detector:
            faults.append("anomaly: detector.anomaly is missing, which says when one starts and ends")
    return faults


def anomaly_faults(anomaly: Anomaly, horizon: int) -> list[str]:
    """What is wrong with how rows are held against forecasts `horizon` rows ahead."""
    faults = []
    if not 1 <= anomaly.lead <= horizon:
        faults.append(f"anomaly.lead is {anomaly.lead}; it must lie between 1 and the horizon, {horizon}")
    if not 1 <= anomaly.smoothing_rows <= anomaly.memory_rows <= 1e9:
        faults.append(
            f"anomaly.smoothing_rows {anomaly.smoothing_rows:g} and memory_rows {anomaly.memory_rows:g}: "
            "1 <= smoothing_rows <= memory_rows <= 1e9 must hold"
        )
    if not 1 <= anomaly.warm_up_rows <= 1_000_000:
        faults.append(f"anomaly.warm_up_rows is {anomaly.warm_up_rows}; it must lie between 1 and 1000000")
    return faults


def _section_faults(card: Card) -> list[str]:
    """What is wrong with the sections that only some models have."""
    faults = []
    if (card.kind == "token") != isinstance(card.tokens, Tokens):
        faults.append(f"kind is {card.kind}, and tokens {_standing(card.tokens)}; a token model has them, no other has")
    if isinstance(card.tokens, Tokens):
        faults += _token_faults(card.tokens)
    if (card.task == "classify") != isinstance(card.utterance, Utterance):
        faults.append(f"task is {card.task}, and utterance {_standing(card.utterance)}; classify has it, no other has")
    if isinstance(card.utterance, Utterance):
        if not 0 <= card.utterance.silence_s <= 60:
            faults.append(f"utterance.silence_s is {card.utterance.silence_s}; it must lie between 0 and 60 seconds")
        if not -120 <= card.utterance.silence_dbfs <= 0:
            faults.append(f"utterance.silence_dbfs is {card.utterance.silence_dbfs}; it must lie between -120 and 0")
    return faults


def _standing(section: msgspec.Struct | msgspec.UnsetType) -> str:
    return "is missing" if section is msgspec.UNSET else "stands there"


def _token_faults(tokens: Tokens) -> list[str]:
    vocabulary = set(tokens.vocabulary)
    faults = []
    if len(vocabulary) != len(tokens.vocabulary):
        faults.append("tokens.vocabulary holds a token twice")
    if tokens.unknown not in vocabulary:
        faults.append(f"tokens.unknown is {tokens.unknown!r}, which is not in the vocabulary")
    if tokens.end is not None and tokens.end not in vocabulary:
        faults.append(f"tokens.end is {tokens.end!r}, which is not in the vocabulary")
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
    if not 0 <= trigger.refractory_s <= LONGEST_REST_S:
        faults.append(f"refractory_s is {trigger.refractory_s}; it must lie between 0 and {LONGEST_REST_S} seconds")
    return faults
