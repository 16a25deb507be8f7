"""The recipe: what the trainer is asked for. `recipe_file.py` reads it from TOML and checks it whole.

Each setting is explained where it stands below; the whole text of the file travels on the model's card.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from otolith.inference.card import ANOMALY, FULL_SCALE, Channel, Cut, Trigger

CellName = Literal["gru", "lstm", "rnn"]
Task = Literal[
    "tag",  # a label for every frame
    "classify",  # one for a whole utterance: a clip, a run, a line of text
    "forecast",  # what comes next: the rows behind each, or the next token
]
Pool = Literal["last", "mean", "max"]

DEFAULT_CLIP_NORM = 1.0
MONO = Channel("mono", FULL_SCALE)


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a recipe; a key it does not know is an error, since it was meant for something.

    Written without its defaults, so that a setting of a later version leaves a recipe what it was.
    """


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

    kind: Literal["audio", "sensor", "token"]
    path: str  # relative to the data folder (`--data`)
    name: str
    licence: str
    attribution: str
    labels: list[str] = []  # in the order of the model's posteriors; none where rows or tokens are forecast
    unknown: str | None = None  # the label of what is of the kind but none of the labels (a word we do not know)
    background: str | None = None  # the label that means nothing happens
    files: list[str] = []  # glob patterns of the files to use; empty: all that can be read
    label_column: str = "label"  # the manifest's column that holds a file's label; of packed signals, several by "+"
    group_column: str = ""  # ... its speaker or subject; empty: `speaker` or `subject`, whichever is there
    dev: list[str] = []  # groups to hold out for choosing; empty: the manifest's split, or a hash (splits.py)
    test: list[str] = []  # groups to hold out for the last look
    backgrounds: list[Backgrounds] = []
    rows: dict[Literal["train", "dev", "test"], tuple[int, int]] = {}  # forecasts: from which row to which, per split


class Mfcc(Section, frozen=True, tag_field="type", tag="mfcc"):
    """Mel-frequency cepstra of sound, as `librosa.feature.mfcc(center=False)` with an absolute decibel scale."""

    sample_rate: int  # Hz
    window_length: int = 512  # samples a spectrum looks at
    hop_length: int = 320  # samples from one frame to the next
    n_mels: int = 40  # mel bands
    n_mfcc: int = 40  # cepstra kept of them
    f_min: float = 20.0  # Hz, lowest edge of the mel bands
    f_max: float = 7600.0  # Hz, highest

    @property
    def bands(self) -> int:
        """Bands of a spectrum."""
        return self.n_mels

    @property
    def channel(self) -> Channel:
        """What is heard: mono sound, in parts of full scale."""
        return MONO

    @property
    def full_scale(self) -> float:
        """What a sample of 1 stands for."""
        return 1.0


class Spectrum(Section, frozen=True, tag_field="type", tag="spectrum"):
    """Bands of the power spectrum in decibels, of vibration or any signal whose lines say more than a voice's shape."""

    sample_rate: int  # Hz
    f_max: float  # Hz, highest edge of the bands; stay below what the recorder's own filter takes away
    f_min: float = 20.0  # Hz, lowest; two bins (2 * sample_rate / window_length) keep an offset out
    bands: int = 64
    scale: Literal["linear", "log"] = "linear"  # bands evenly apart, or by equal ratios
    window_length: int = 1024  # samples a spectrum looks at
    hop_length: int = 512  # samples from one frame to the next
    average: int = (
        1  # frames whose bands are averaged: one spectrum is noisy, and a machine does not change in a second
    )
    channel: Channel = MONO
    full_scale: float = 1.0  # in the channel's unit: what a sample of 1 stands for, here and at the live source


class Rows(Section, frozen=True, tag_field="type", tag="sensor"):
    """A sensor's rows as they are, scaled by what the training rows show."""

    sample_rate: float  # rows a second
    channels: list[Channel]
    scaling: Literal["z-score", "min-max"] = "z-score"  # mean 0 and deviation 1, or lowest -1 and highest 1
    energy_rows: int = 0  # beside each channel: how much it moved in so many rows, in decibels; 0 leaves that out


class Tokens(Section, frozen=True, tag_field="type", tag="tokens"):
    """Text or codes, token by token, each as a vector that is learned with the rest."""

    cut: Cut = "words"  # what a token is: words by white space, characters, or lines (a code each)
    lower: bool = False  # upper case is read as lower
    width: int = 64  # of a token's vector
    vocabulary: list[str] = []  # the tokens that are known; empty: those of the training texts
    minimum_count: int = 2  # how often a token must stand in those to be known; others are the unknown one
    largest: int = 20_000  # how many are known at most, the commonest
    begin: Literal["company", "labels", "chance"] = "company"  # vectors begin as what tokens stand beside (vectors.py),
    # a value or more of them as how much oftener they stand under one label than under the others; or drawn
    dropout: float = 0.0  # share of the vectors' values left out while training, the same all through a stream
    unknown_share: float = 0.1  # share of tokens that are taken for the unknown one while training
    sample_rate: float = 1.0  # tokens a second: what time is counted by in recordings, which have no clock


Sound = Mfcc | Spectrum
Frontend = Sound | Rows | Tokens


class Convolution(Section, frozen=True):
    """A convolution over the last few frames, ahead of the recurrent layers; it looks only backwards."""

    kernel: int  # frames it sees
    channels: int


class Network(Section, frozen=True):
    """The recurrent network."""

    layers: int  # recurrent layers, one upon the other
    hidden: int  # units of each, and of each direction
    cell: CellName = "gru"  # lstm: a memory beside its output, for what is long ago; rnn: plain tanh, soon forgets
    bidirectional: bool = False  # reads backwards too: an upper bound or a teacher, which no live stream can step
    dropout: float = 0.0  # share of each layer's input left out while training (of token vectors, as `frontend` says)
    convolution: Convolution | None = None
    pool: tuple[Pool, ...] = ("last",)  # of `classify`: what a label is told from, side by side: the last frame's
    # outputs, their mean so far, or their maximum so far (a smooth one)


class Clips(Section, frozen=True, tag_field="type", tag="clips"):
    """Streams composed of clips over a background (composer.py). Ranges are drawn from evenly."""

    gap_s: tuple[float, float] = (0.1, 1.2)  # between one word and the next
    snr_db: tuple[float, float] = (0.0, 30.0)  # a word's loudness above the background's
    level_db: tuple[float, float] = (-45.0, -12.0)  # a word's loudness, in dB below full scale
    scene_s: tuple[float, float] = (4.0, 20.0)  # how long one background and level last
    clean: float = 0.25  # share of scenes with no background but the clips' own
    speech_bed: float = 0.15  # share of scenes with speech as the background
    negatives: float = 0.15  # share of placed clips that are background speech or noise rather than words
    negative_speed: tuple[float, float] = (1.0, 1.0)  # how much faster such a sound is played
    unknown: float = 0.2  # share of placed words that are unknown ones
    backwards: float = 0.0  # share of placed words that are played backwards, and so are speech that is none of them
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


class Spans(Section, frozen=True, tag_field="type", tag="spans"):
    """Streams of unlabelled rows that begin anywhere in the series (spans.py), to forecast."""


class Forecast(Section, frozen=True):
    """What is forecast behind each row: a linear path over the look-back, and a decoder upon it."""

    horizon: int  # rows ahead
    look_back: int = 48  # rows that the linear path sees
    anchor: Literal["last", "mean"] = "last"  # it maps how the rows differ from the last one, or from the mean
    ridge: float = 100.0  # its penalty: how firmly the map that all channels share is held to the anchor
    own_ridge: float = 1000.0  # ... and each channel's own map to the one that they share
    hidden: int = 16  # units of the decoder
    stride: int = 1  # rows that each of its steps tells at once: with more, a step of the whole model costs less
    teacher_forcing: tuple[float, float] = (1.0, 0.0)  # share of true rows fed to the decoder, at first and at last
    relative: bool = False  # each row ahead counts by what the linear path leaves there; else the far ones outweigh
    season_rows: int = 0  # rows of a season, for the seasonal naive forecast to be measured against; 0: none


class Anomaly(Section, frozen=True):
    """When a live row differs from its forecast: how it is judged (the daemon's `Watch`), and when that starts."""

    lead: int = 1  # rows ahead that a row was forecast from
    smoothing_rows: float = 10.0  # errors are averaged over about as many rows: one noisy row is no anomaly
    memory_rows: float = 2000.0  # ... and held against those of as many: what has become usual ceases to alarm
    warm_up_rows: int = 100  # errors seen before any is judged
    threshold: float = 0.4  # score at which an anomaly starts: one row in 10 to the power of ten times this
    release: float = 0.2  # ... and below which it ends
    refractory_s: float = 0.0  # rest after an end


class Utterances(Section, frozen=True, tag_field="type", tag="utterances"):
    """Whole clips, runs or lines, each from a fresh start, a batch of them at a time (utterances.py): for `classify`.

    `chunk_frames` is the longest that is learned from: of a longer one its last frames.
    """

    known_after: float = 1.0  # share of an utterance after which its label must be known; 1: at its last frame
    silence_s: float = 0.0  # how much silence ends an utterance of sound in the daemon; 0: only the source's end does
    silence_dbfs: float = -40.0  # what is silent: no sample above this
    speed: tuple[float, float] = (1.0, 1.0)  # how much faster a clip or run is played
    clip_gain_db: float = 0.0  # deviation of a clip's gain
    snr_db: tuple[float, float] = (60.0, 60.0)  # a clip's loudness above the background's that is laid under it
    lead_s: float = 0.0  # longest background before a clip
    jitter: float = 0.0  # noise on every value of a run, in deviations of its channel


class Text(Section, frozen=True, tag_field="type", tag="text"):
    """Text as endless streams, from which the next token is learned (passages.py): for `forecast` of tokens."""

    start_on_line: float = 0.5  # share of fresh starts that begin with a line; the rest begin anywhere


class Signals(Section, frozen=True, tag_field="type", tag="signals"):
    """Streams stitched of pieces of recordings that have one label each, as of a machine (signal_stitcher.py)."""

    piece_s: tuple[float, float] = (1.0, 6.0)  # how long one recording stands before the next
    known_after_s: float = 0.25  # from a new piece on; until then the label before it is right as well
    speed: tuple[float, float] = (0.95, 1.05)  # how much faster it is played: a machine under another load
    gain_db: float = 4.0  # deviation of a piece's gain: another mounting or sensor
    equalizer_db: float = 3.0  # deviation of a random colouring of the spectrum, a chunk
    mask_bands: int = 6  # widest mask over bands (SpecAugment)
    mask_frames: int = 0  # longest mask over frames
    stretch_s: float = 1.0  # how long a stretch is that gets one decision where the model is measured


class Training(Section, frozen=True):
    """How the network is fitted: a one-cycle schedule, truncated back-propagation through time."""

    batch: int  # streams learned from at once
    epochs: int  # 0: a forecast is what is fitted in closed form, its linear path alone
    steps_per_epoch: int  # streams are endless, so an epoch is as long as one says
    chunk_frames: int  # how far back gradients reach; the state itself is carried on (detached)
    optimizer: Literal["adamw", "muon"] = "adamw"  # muon: in as many steps it learns more, each 5 to 15 % dearer
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
    task: Task
    data: Data
    frontend: Frontend
    network: Network
    streams: Clips | Runs | Signals | Utterances | Spans | Text
    training: Training
    detector: Detector = Detector()
    forecast: Forecast | None = None  # where rows are forecast, and only there
    anomaly: Anomaly | None = None  # for a forecast that watches for anomalies
    limits: str = ""  # what a user of the model should know it cannot do; stands on its card

    @property
    def is_language(self) -> bool:
        """Is it the next token that is learned?"""
        return self.data.kind == "token" and self.task == "forecast"

    @property
    def all_labels(self) -> list[str]:
        """The model's labels: those of the data, then unknown, then background; all tokens, where one is forecast."""
        if isinstance(self.frontend, Tokens) and self.is_language:
            return self.frontend.vocabulary
        extra = [label for label in (self.data.unknown, self.data.background) if label is not None]
        return [*self.data.labels, *extra]

    @property
    def triggers(self) -> dict[str, Trigger]:
        """A trigger for each label of the data, or for anomalies; none where a whole has one label, or nothing has."""
        if self.anomaly is not None:
            return {ANOMALY: Trigger(self.anomaly.threshold, self.anomaly.release, 0.0, self.anomaly.refractory_s)}
        if self.task != "tag":
            return {}
        d = self.detector
        default = Trigger(d.threshold, d.release, d.smoothing_s, d.refractory_s)
        return {label: d.labels.get(label, default) for label in self.data.labels}


def with_seed(recipe: Recipe, seed: int | None) -> Recipe:
    """The recipe with another seed; as it is where none is given."""
    if seed is None:
        return recipe
    return msgspec.structs.replace(recipe, training=msgspec.structs.replace(recipe.training, seed=seed))
