"""The card as it stands in a model file: JSON, read and checked whole, or written."""

from __future__ import annotations

import math

import msgspec

from otolith.errors import ModelError
from otolith.inference.card import (
    ANOMALY,
    FORMAT,
    Anomaly,
    Card,
    Forecast,
    Tokens,
    Trigger,
    Utterance,
)

MAX_CARD_BYTES = 8 << 20
MAX_CARD_VALUES = 400_000  # each costs up to 72 bytes once read; a vocabulary of 8,192 words with its proof has 80,000
MAX_PROOF_VALUES = 1 << 22  # of its input
MAX_NAME = 128  # characters
LONGEST_REST_S = 31 * 86_400  # hourly rows may rest for days


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
