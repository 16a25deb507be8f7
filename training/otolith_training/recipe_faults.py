"""What is wrong with a recipe whose types are right: each fault says where, what was found and what would do."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from otolith.inference.card import FULL_SCALE
from otolith.inference.card_text import trigger_faults
from otolith_training.forecast_faults import forecast_faults, row_faults
from otolith_training.recipe import (
    Clips,
    Detector,
    Frontend,
    Mfcc,
    Recipe,
    Rows,
    Runs,
    Section,
    Signals,
    Spans,
    Spectrum,
    Text,
    Tokens,
    Training,
    Utterances,
)


def recipe_faults(recipe: Recipe) -> list[str]:
    """What is wrong with a recipe whose types are right."""
    return [
        *_name_faults(recipe),
        *_kind_faults(recipe),
        *forecast_faults(recipe),
        *(_data_faults(recipe) if recipe.forecast is None else row_faults(recipe)),
        *_frontend_faults(recipe.frontend),
        *_number_faults(recipe),
        *_training_faults(recipe.training),
        *_stream_faults(recipe.streams),
        *_detector_faults(recipe),
    ]


def _name_faults(recipe: Recipe) -> list[str]:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", recipe.name):
        return []
    return [f"name: {recipe.name!r}; use up to 64 letters, digits, dots, dashes and underscores"]


def _data_faults(recipe: Recipe) -> list[str]:
    data, faults = recipe.data, []
    extra = [label for label in (data.unknown, data.background) if label is not None]
    labels = [*data.labels, *extra]
    if len(set(labels)) != len(labels):
        faults.append("data.labels: a label stands twice; name each once (unknown and background by their own keys)")
    if not all(labels):
        faults.append("data.labels: an empty name; give every label one")
    if recipe.is_language:
        if labels:
            faults.append("data.labels: the next token is forecast, and the vocabulary is its labels; leave them out")
    elif len(labels) < 2:
        faults.append(f"data.labels: {len(labels)} label in all; at least two are needed to tell anything apart")
    faults += [
        f"data.backgrounds: {b.name}: dev {b.dev:g} and test {b.test:g}; shares that leave some to train on must stand"
        for b in data.backgrounds
        if min(b.dev, b.test) < 0 or b.dev + b.test >= 1
    ]
    if both := sorted(set(data.dev) & set(data.test)):
        faults.append(f"data.dev: {', '.join(both)} stands in data.test too; hold a group out once")
    return faults


def _kind_faults(recipe: Recipe) -> list[str]:
    kind, task = recipe.data.kind, recipe.task
    audio = kind == "audio"
    faults = []
    frontends = _FRONTENDS[kind]
    if not isinstance(recipe.frontend, frontends):
        faults.append(f"frontend.type: does not fit data.kind {kind!r}; {kind} takes {_tags(frontends)}")
    streams = _STREAMS.get((kind, task))
    if streams is None:
        told = ", ".join(of for takes, of in _STREAMS if takes == kind)
        faults.append(f"task: {task!r} is not learned from data.kind {kind!r}; it takes {told}")
    elif not isinstance(recipe.streams, streams):
        faults.append(f"streams.type: does not fit data.kind {kind!r} and task {task!r}; that takes {_tags(streams)}")
    if recipe.network.pool != ("last",) and task != "classify":
        faults.append("network.pool: only a model that classifies pools; leave it out")
    if not recipe.network.pool or len(set(recipe.network.pool)) != len(recipe.network.pool):
        faults.append("network.pool: name one or more of last, mean and max, each once")
    if isinstance(recipe.frontend, Tokens) and recipe.frontend.begin == "labels" and task != "classify":
        faults.append('frontend.begin: "labels" begins as what lines are called, and these are not; say "company"')
    if recipe.data.backgrounds and not audio:
        faults.append("data.backgrounds: only sound has some; leave them out")
    if recipe.data.backgrounds and isinstance(recipe.streams, Signals):
        faults.append("data.backgrounds: signals have none laid under them; give the background's a label")
    if isinstance(recipe.streams, Clips) and recipe.data.background is None:
        faults.append("data.background: is missing; a stream of sound needs a label for what is no word")
    return faults


_FRONTENDS: dict[str, tuple[type[Section], ...]] = {"audio": (Mfcc, Spectrum), "sensor": (Rows,), "token": (Tokens,)}
_STREAMS: dict[tuple[str, str], tuple[type[Section], ...]] = {
    ("audio", "tag"): (Clips, Signals),
    ("audio", "classify"): (Utterances,),
    ("sensor", "tag"): (Runs,),
    ("sensor", "classify"): (Utterances,),
    ("sensor", "forecast"): (Spans,),
    ("token", "classify"): (Utterances,),
    ("token", "forecast"): (Text,),
}


def _tags(sections: Sequence[type[Section]]) -> str:
    """How sections are named in a recipe."""
    return " or ".join(str(section.__struct_config__.tag) for section in sections)


def _frontend_faults(frontend: Frontend) -> list[str]:
    f = frontend
    if not 0 < f.sample_rate <= 1_000_000:
        return [f"frontend.sample_rate: {f.sample_rate}; above 0 and at most 1000000 Hz"]
    if isinstance(f, Rows):
        names = [channel.name for channel in f.channels]
        if not names or len(set(names)) != len(names):
            return ["frontend.channels: must be named, each once"]
        wrong = f.energy_rows != 0 and not 2 <= f.energy_rows <= 1000
        return [f"frontend.energy_rows: {f.energy_rows}; 0, or between 2 and 1000"] if wrong else []
    if isinstance(f, Tokens):
        return _token_faults(f)
    faults = []
    if not 1 <= f.hop_length <= f.window_length <= 8192:
        faults.append(
            f"frontend.window_length: {f.window_length} with hop_length {f.hop_length}; "
            "1 <= hop_length <= window_length <= 8192 must hold"
        )
    if not 0 <= f.f_min < f.f_max <= f.sample_rate / 2:
        faults.append(
            f"frontend.f_max: {f.f_max:g} Hz with f_min {f.f_min:g} Hz; "
            f"0 <= f_min < f_max <= {f.sample_rate / 2:g} (half the sample rate) must hold"
        )
    if isinstance(f, Spectrum):
        faults += _spectrum_faults(f)
    elif not 1 <= f.n_mfcc <= f.n_mels <= 256:
        faults.append(f"frontend.n_mfcc: {f.n_mfcc} with n_mels {f.n_mels}; 1 <= n_mfcc <= n_mels <= 256 must hold")
    return faults


def _token_faults(tokens: Tokens) -> list[str]:
    wanted: list[tuple[str, float, float, float]] = [
        ("width", tokens.width, 1, 4096),
        ("minimum_count", tokens.minimum_count, 1, 1_000_000),
        ("largest", tokens.largest, 2, 200_000),
        ("dropout", tokens.dropout, 0, 0.9),
        ("unknown_share", tokens.unknown_share, 0, 0.9),
    ]
    faults = [
        f"frontend.{name}: {value:g}; between {low:g} and {high:g}"
        for name, value, low, high in wanted
        if not low <= value <= high
    ]
    if len(set(tokens.vocabulary)) != len(tokens.vocabulary):
        faults.append("frontend.vocabulary: a token stands twice; name each once")
    return faults


def _spectrum_faults(f: Spectrum) -> list[str]:
    faults = []
    if not 1 <= f.bands <= 512:
        faults.append(f"frontend.bands: {f.bands}; between 1 and 512")
    if not 1 <= f.average <= 256:
        faults.append(f"frontend.average: {f.average}; between 1 and 256 frames")
    if f.scale == "log" and f.f_min <= 0:
        faults.append(f"frontend.f_min: {f.f_min:g} Hz; bands by equal ratios must begin above 0")
    if not 0 < f.full_scale < math.inf:
        faults.append(f"frontend.full_scale: {f.full_scale:g}; above 0, what a sample of 1 is in the channel's unit")
    if f.channel.unit == FULL_SCALE and f.full_scale != 1:
        faults.append(f"frontend.full_scale: {f.full_scale:g} of no unit; name the channel's, such as g")
    return faults


def _training_faults(training: Training) -> list[str]:
    if training.clip_norm is None or training.clip_value is None:
        return []
    return ["training.clip_value: stands beside clip_norm; clip by one of them and leave the other out"]


def _number_faults(recipe: Recipe) -> list[str]:
    network, training = recipe.network, recipe.training
    wanted: list[tuple[str, float, float, float]] = [
        ("network.layers", network.layers, 1, 8),
        ("network.hidden", network.hidden, 1, 4096),
        ("network.dropout", network.dropout, 0, 0.9),
        ("training.batch", training.batch, 1, 65536),
        ("training.epochs", training.epochs, 1 if recipe.forecast is None else 0, 100_000),
        ("training.steps_per_epoch", training.steps_per_epoch, 1, 1_000_000),
        ("training.chunk_frames", training.chunk_frames, 1, 100_000),
        ("training.learning_rate", training.learning_rate, 1e-8, 10),
        ("training.warm_up", training.warm_up, 0, 0.9),
        ("training.weight_decay", training.weight_decay, 0, 10),
        ("training.clip_norm", training.longest_gradient, 1e-6, 1e6),
        ("training.label_smoothing", training.label_smoothing, 0, 0.9),
        ("training.average", training.average, 0, 0.999999),
        ("training.fresh_start", training.fresh_start, 0, 1),
        ("training.seed", training.seed, 0, 2**31 - 1),
    ]
    if training.clip_value is not None:
        wanted.append(("training.clip_value", training.clip_value, 1e-9, 1e6))
    if network.convolution is not None:
        wanted.append(("network.convolution.kernel", network.convolution.kernel, 1, 64))
        wanted.append(("network.convolution.channels", network.convolution.channels, 1, 4096))
    return [
        f"{where}: {value:g}; between {low:g} and {high:g}"
        for where, value, low, high in wanted
        if not low <= value <= high
    ]


_SHARES = (
    "clean", "speech_bed", "negatives", "unknown", "backwards", "reverb", "known_after", "start_on_clip",
    "start_on_run", "mask_sensors", "start_on_line",
)  # fmt: skip
_HIGHEST = {
    **dict.fromkeys(_SHARES, 1.0),
    "clip_gain_db": 40.0,
    "gain_db": 40.0,
    "equalizer_db": 40.0,
    "vocal_tract": 0.5,
    "time_warp": 1.0,
    "rate_drift": 1.0,
    "magnitude_warp": 1.0,
    "silence_s": 60.0,
    "lead_s": 10.0,
    "jitter": 10.0,
}


def _stream_faults(streams: Clips | Runs | Signals | Utterances | Spans | Text) -> list[str]:
    faults = []
    for name in streams.__struct_fields__:
        value = getattr(streams, name)
        if isinstance(value, tuple) and not value[0] <= value[1]:
            faults.append(f"streams.{name}: {value[0]:g} to {value[1]:g}; the lower figure goes first")
    for name, highest in _HIGHEST.items():
        value = getattr(streams, name, 0)
        if not 0 <= value <= highest:
            faults.append(f"streams.{name}: {value:g}; between 0 and {highest:g}")
    for name in ("speed", "negative_speed"):
        slowest, fastest = getattr(streams, name, (1.0, 1.0))
        if not 0.25 <= slowest <= fastest <= 4:
            faults.append(f"streams.{name}: {slowest:g} to {fastest:g}; between 0.25 and 4")
    if isinstance(streams, Utterances) and not -120 <= streams.silence_dbfs <= 0:
        faults.append(f"streams.silence_dbfs: {streams.silence_dbfs:g}; between -120 and 0")
    if isinstance(streams, Signals) and min(streams.piece_s[0], streams.stretch_s) <= 0:
        faults.append("streams: piece_s and stretch_s are lengths of time; both must be above 0")
    if isinstance(streams, Signals) and streams.known_after_s < 0:
        faults.append(f"streams.known_after_s: {streams.known_after_s:g}; it must not be negative")
    if isinstance(streams, Clips):
        if streams.gap_s[0] < 0 or streams.scene_s[0] <= 0 or streams.held_s < 0:
            faults.append("streams: gap_s, scene_s and held_s are lengths of time; none may be negative")
        for index, transform in enumerate(streams.augmentations):
            faults += _augmentation_faults(f"streams.augmentations[{index}]", transform)
    return faults


def _augmentation_faults(where: str, transform: Mapping[str, object]) -> list[str]:
    """What can be seen without the library; augment.py sees the rest when the trainer starts."""
    if not isinstance(transform.get("type"), str):
        return [f'{where}: "type" is missing; name a transform of audiomentations, such as type = "TanhDistortion"']
    p = transform.get("p", 0.5)
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
        return [f"{where}.p: {p!r}; the share of sounds it is done to, between 0 and 1"]
    return []


def _detector_faults(recipe: Recipe) -> list[str]:
    faults = [
        f"detector.{label}: {fault}" for label, trigger in recipe.triggers.items() for fault in trigger_faults(trigger)
    ]
    d = recipe.detector
    if recipe.task != "tag" and d != Detector():
        faults.append(f"detector: task {recipe.task!r} has none; leave the section out")
    if unknown := sorted({*d.labels, *d.label_false_alarms_per_hour} - set(recipe.data.labels)):
        faults.append(f"detector.labels: {', '.join(unknown)}: none of data.labels; name those")
    budgets = {"false_alarms_per_hour": d.false_alarms_per_hour, **d.label_false_alarms_per_hour}
    faults += [
        f"detector: {rate:g} false alarms an hour ({name}); must be above 0, since none at all cannot be promised"
        for name, rate in budgets.items()
        if rate is not None and not rate > 0
    ]
    if d.false_alarms_per_hour is None and d.label_false_alarms_per_hour:
        faults.append(
            "detector.false_alarms_per_hour: is missing; say the budget of the labels without one of their own"
        )
    if d.false_alarms_per_hour is not None and isinstance(recipe.streams, Signals):
        faults.append("detector.false_alarms_per_hour: needs streams of clips or runs; say thresholds instead")
    if d.false_alarms_per_hour is not None and d.labels:
        faults.append("detector.labels: cannot be kept and chosen within false_alarms_per_hour; leave out either")
    return faults
