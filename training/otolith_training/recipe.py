"""The recipe: what the trainer is asked for, read from TOML and checked whole before anything is loaded.

Each setting is explained where it stands below; the whole text of the file travels on the model's card.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from otolith.errors import SettingsError
from otolith.inference.card import Channel, Trigger, trigger_faults

DEFAULT_CLIP_NORM = 1.0


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a recipe; a key it does not know is an error, since it was meant for something."""


class Backgrounds(Section, frozen=True):
    """A folder of sound that is none of the words."""

    path: str  # relative to the data folder
    name: str
    licence: str
    attribution: str
    role: Literal["noise", "speech"]  # speech may be called unknown (where there is such a label) as well as background
    folders: list[str] = []  # sub-folders to use; empty: the folder itself and everything under it
    dev: float = 0.15  # share held out for choosing: the end of a long recording, or short ones by a hash
    test: float = 0.15  # share held out for the last look


class Data(Section, frozen=True):
    """What is learned from."""

    kind: Literal["audio", "sensor"]
    path: str  # relative to the data folder (`--data`)
    name: str
    licence: str
    attribution: str
    labels: list[str]  # in the order of the model's posteriors
    unknown: str | None = None  # the label of what is of the kind but none of the labels (a word we do not know)
    background: str | None = None  # the label that means nothing happens
    files: list[str] = []  # glob patterns of the files to use; empty: all that can be read
    label_column: str = "label"  # the manifest's column that holds a file's label
    group_column: str = ""  # ... its speaker or subject; empty: `speaker` or `subject`, whichever is there
    dev: list[str] = []  # groups to hold out for choosing; empty: the manifest's split, or a hash (datasets.py)
    test: list[str] = []  # groups to hold out for the last look
    backgrounds: list[Backgrounds] = []


class Mfcc(Section, frozen=True, tag_field="type", tag="mfcc"):
    """Mel-frequency cepstra of sound, as `librosa.feature.mfcc(center=False)` with an absolute decibel scale."""

    sample_rate: int  # Hz
    window_length: int = 512  # samples a spectrum looks at
    hop_length: int = 320  # samples from one frame to the next
    n_mels: int = 40  # mel bands
    n_mfcc: int = 40  # cepstra kept of them
    f_min: float = 20.0  # Hz, lowest edge of the mel bands
    f_max: float = 7600.0  # Hz, highest


class Rows(Section, frozen=True, tag_field="type", tag="sensor"):
    """A sensor's rows as they are, scaled by what the training rows show."""

    sample_rate: float  # rows a second
    channels: list[Channel]
    scaling: Literal["z-score", "min-max"] = "z-score"  # mean 0 and deviation 1, or lowest -1 and highest 1


Frontend = Mfcc | Rows


class Convolution(Section, frozen=True):
    """A convolution over the last few frames, ahead of the GRU; it looks only backwards."""

    kernel: int  # frames it sees
    channels: int


class Network(Section, frozen=True):
    """The recurrent network."""

    layers: int  # GRU layers, one upon the other
    hidden: int  # units of each
    dropout: float = 0.0  # share of each layer's input left out while training
    convolution: Convolution | None = None


class Clips(Section, frozen=True, tag_field="type", tag="clips"):
    """Streams composed of clips over a background (composer.py). Ranges are drawn from evenly."""

    gap_s: tuple[float, float] = (0.1, 1.2)  # between one word and the next
    snr_db: tuple[float, float] = (0.0, 30.0)  # a word's loudness above the background's
    level_db: tuple[float, float] = (-45.0, -12.0)  # a word's loudness, in dB below full scale
    scene_s: tuple[float, float] = (4.0, 20.0)  # how long one background and level last
    clean: float = 0.25  # share of scenes with no background but the clips' own
    speech_bed: float = 0.15  # share of scenes with speech as the background
    negatives: float = 0.15  # share of placed clips that are background speech or noise rather than words
    unknown: float = 0.2  # share of placed words that are unknown ones
    speed: tuple[float, float] = (0.88, 1.14)  # how much faster a clip is played
    reverb: float = 0.2  # share of words heard through a room
    augmentations: list[dict[str, bool | int | float | str | list[str]]] = []  # audiomentations' transforms, in order
    known_after: float = 0.65  # share of a word after which it must be known
    held_s: float = 0.2  # how long after its end it must still be told
    start_on_clip: float = 0.5  # share of fresh starts that begin exactly with a clip, as a clip's evaluation does
    clip_gain_db: float = 5.0  # deviation of such a clip's gain
    equalizer_db: float = 6.0  # deviation of a scene's random colouring of the spectrum
    vocal_tract: float = 0.0  # how far a scene's speakers may be from those of the clips: 0.1 is 10 % longer or shorter
    mask_bands: int = 8  # widest mask over mel bands (SpecAugment)
    mask_frames: int = 8  # longest mask over frames


class Runs(Section, frozen=True, tag_field="type", tag="runs"):
    """Streams stitched of labelled runs (stitcher.py)."""

    rotation_deg: float = 10.0  # deviation of a random turn of each three-axis sensor, a run
    scale: float = 0.1  # deviation of a factor on each sensor, a run
    jitter: float = 0.02  # noise on every value, in deviations of its channel
    speed: tuple[float, float] = (0.85, 1.15)  # how much faster a run is played
    time_warp: float = 0.0  # deviation of a speed that changes smoothly within a run
    rate_drift: float = 0.0  # deviation of how far the clock is off at a run's end, and at its start the other way
    magnitude_warp: float = 0.0  # deviation of a factor on each sensor that changes smoothly within a run
    mask_sensors: float = 0.0  # share of runs in which one three-axis sensor is silent
    start_on_run: float = 0.7  # share of fresh starts at a run's first row; the rest begin anywhere in it


class Training(Section, frozen=True):
    """How the network is fitted: AdamW under a one-cycle schedule, truncated back-propagation through time."""

    batch: int  # streams learned from at once
    epochs: int
    steps_per_epoch: int  # streams are endless, so an epoch is as long as one says
    chunk_frames: int  # how far back gradients reach; the state itself is carried on (detached)
    learning_rate: float = 4e-3  # highest, reached after `warm_up`
    warm_up: float = 0.15  # share of the steps in which the learning rate rises
    weight_decay: float = 0.01
    clip_norm: float | None = None  # gradients longer than this are shortened to it; 1.0 where nothing is said
    clip_value: float | None = None  # or: every single gradient is held within plus or minus this, whatever their norm
    label_smoothing: float = 0.1  # share of the target given to all labels alike
    average: float = 0.998  # decay of the averaged weights, which are what is kept
    fresh_start: float = 0.1  # share of streams that start afresh at a chunk
    seed: int = 1

    @property
    def longest_gradient(self) -> float:
        """The norm that gradients are shortened to where they are not clipped by value."""
        return DEFAULT_CLIP_NORM if self.clip_norm is None else self.clip_norm


class Detector(Section, frozen=True):
    """When posteriors become detections (the daemon's `Detector`): figures for every label, and exceptions.

    Where a budget is given, the figures are chosen within it on development streams instead.
    """

    false_alarms_per_hour: float | None = None  # the budget of all labels together
    label_false_alarms_per_hour: dict[str, float] = {}  # labels with a budget of their own
    threshold: float = 0.6  # smoothed posterior at which a label starts
    release: float = 0.3  # ... and below which it ends
    smoothing_s: float = 0.1
    refractory_s: float = 0.5  # rest after an end
    labels: dict[str, Trigger] = {}  # labels with figures of their own


class Recipe(Section, frozen=True):
    """Everything that makes a model, but the data itself."""

    name: str
    task: Literal["tag"]  # a label for every frame
    data: Data
    frontend: Frontend
    network: Network
    streams: Clips | Runs
    training: Training
    detector: Detector = Detector()
    limits: str = ""  # what a user of the model should know it cannot do; stands on its card

    @property
    def all_labels(self) -> list[str]:
        """The model's labels: those of the data, then unknown, then background."""
        extra = [label for label in (self.data.unknown, self.data.background) if label is not None]
        return [*self.data.labels, *extra]

    @property
    def triggers(self) -> dict[str, Trigger]:
        """A trigger for each label of the data."""
        d = self.detector
        default = Trigger(d.threshold, d.release, d.smoothing_s, d.refractory_s)
        return {label: d.labels.get(label, default) for label in self.data.labels}


def read_recipe(path: str | Path) -> tuple[Recipe, str]:
    """A recipe and its text. Raises `SettingsError`: `FILE: where: found; what would do`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"{path}: cannot be read ({reason}); name a recipe (.toml)") from None
    return parse_recipe(text, str(path)), text


def parse_recipe(text: str, where: str) -> Recipe:
    """A recipe from its text; `where` begins every message. Raises `SettingsError`."""
    try:
        recipe = msgspec.convert(tomllib.loads(text), Recipe)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: is not TOML: {error}; mend that line") from None
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {_explain(str(error))}") from None
    for fault in _faults(recipe):
        raise SettingsError(f"{where}: {fault}")
    return recipe


def with_seed(recipe: Recipe, seed: int | None) -> Recipe:
    """The recipe with another seed; as it is where none is given."""
    if seed is None:
        return recipe
    return msgspec.structs.replace(recipe, training=msgspec.structs.replace(recipe.training, seed=seed))


_SECTIONS: dict[str, tuple[type[Section], ...]] = {
    "": (Recipe,),
    "data": (Data,),
    "data.backgrounds": (Backgrounds,),
    "frontend": (Mfcc, Rows),
    "network": (Network,),
    "network.convolution": (Convolution,),
    "streams": (Clips, Runs),
    "training": (Training,),
    "detector": (Detector,),
}


def _explain(message: str) -> str:
    """msgspec's message as ours: the place first, then what was found and what would do."""
    found, _, place = message.partition(" - at `$")
    place = re.sub(r"\[(\d+|\.\.\.)\]", "", place.rstrip("`")).lstrip(".")
    sections = _SECTIONS.get(place, ())
    known = [" or ".join(", ".join(section.__struct_fields__) for section in sections)] if sections else []
    if "unknown field" in found:
        name = found.rpartition("field ")[2].strip("`")
        remedy = f"known there: {known[0]}" if known else "leave it out"
        return f"{place or 'top'}: unknown setting {name!r}; {remedy}"
    if "missing required field" in found:
        name = found.rpartition("field ")[2].strip("`")
        return f"{place or 'top'}: {name!r} is missing; add it"
    return f"{place or 'top'}: {found[:1].lower()}{found[1:]}; mend the value"


def _faults(recipe: Recipe) -> list[str]:
    """What is wrong with a recipe whose types are right."""
    return [
        *_name_faults(recipe),
        *_data_faults(recipe.data),
        *_kind_faults(recipe),
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


def _data_faults(data: Data) -> list[str]:
    faults = []
    extra = [label for label in (data.unknown, data.background) if label is not None]
    labels = [*data.labels, *extra]
    if len(set(labels)) != len(labels):
        faults.append("data.labels: a label stands twice; name each once (unknown and background by their own keys)")
    if not all(labels):
        faults.append("data.labels: an empty name; give every label one")
    if len(labels) < 2:
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
    audio = recipe.data.kind == "audio"
    faults = []
    if audio != isinstance(recipe.frontend, Mfcc):
        faults.append(f"frontend.type: does not fit data.kind {recipe.data.kind!r}; audio takes mfcc, sensor sensor")
    if audio != isinstance(recipe.streams, Clips):
        faults.append(f"streams.type: does not fit data.kind {recipe.data.kind!r}; audio takes clips, sensor runs")
    if recipe.data.backgrounds and not audio:
        faults.append("data.backgrounds: a sensor set has none; leave them out")
    if audio and recipe.data.background is None:
        faults.append("data.background: is missing; a stream of sound needs a label for what is no word")
    return faults


def _frontend_faults(frontend: Frontend) -> list[str]:
    f = frontend
    if not 0 < f.sample_rate <= 1_000_000:
        return [f"frontend.sample_rate: {f.sample_rate}; above 0 and at most 1000000 Hz"]
    if isinstance(f, Rows):
        names = [channel.name for channel in f.channels]
        if not names or len(set(names)) != len(names):
            return ["frontend.channels: must be named, each once"]
        return []
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
    if not 1 <= f.n_mfcc <= f.n_mels <= 256:
        faults.append(f"frontend.n_mfcc: {f.n_mfcc} with n_mels {f.n_mels}; 1 <= n_mfcc <= n_mels <= 256 must hold")
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
        ("training.epochs", training.epochs, 1, 100_000),
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
    "clean", "speech_bed", "negatives", "unknown", "reverb", "known_after", "start_on_clip", "start_on_run",
    "mask_sensors",
)  # fmt: skip
_HIGHEST = {
    **dict.fromkeys(_SHARES, 1.0),
    "clip_gain_db": 40.0,
    "vocal_tract": 0.5,
    "time_warp": 1.0,
    "rate_drift": 1.0,
    "magnitude_warp": 1.0,
}


def _stream_faults(streams: Clips | Runs) -> list[str]:
    faults = []
    for name in streams.__struct_fields__:
        value = getattr(streams, name)
        if isinstance(value, tuple) and not value[0] <= value[1]:
            faults.append(f"streams.{name}: {value[0]:g} to {value[1]:g}; the lower figure goes first")
    for name, highest in _HIGHEST.items():
        value = getattr(streams, name, 0)
        if not 0 <= value <= highest:
            faults.append(f"streams.{name}: {value:g}; between 0 and {highest:g}")
    if not 0.25 <= streams.speed[0] <= streams.speed[1] <= 4:
        faults.append(f"streams.speed: {streams.speed[0]:g} to {streams.speed[1]:g}; between 0.25 and 4")
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
    if d.false_alarms_per_hour is not None and d.labels:
        faults.append("detector.labels: cannot be kept and chosen within false_alarms_per_hour; leave out either")
    return faults
