"""Recipes made small: real recordings, a few units, a few steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from otolith_training.network.network import Network
from otolith_training.recipe import Recipe
from otolith_training.recipe_file import parse_recipe

DATA = Path(__file__).parent.parent / "data"

SOUND = """
name = "small-words"
task = "tag"

[data]
kind = "audio"
path = "clips"
name = "Speech Commands, nine clips"
licence = "CC BY 4.0"
attribution = "Pete Warden, Google"
labels = ["yes", "no"]
unknown = "_unknown_"
background = "_background_"

[[data.backgrounds]]
path = "noise"
role = "noise"
name = "exercise bike"
licence = "CC BY 4.0"
attribution = "Pete Warden, Google"

[frontend]
type = "mfcc"
sample_rate = 16000

[network]
layers = 2
hidden = 4
convolution = { kernel = 3, channels = 5 }

[streams]
type = "clips"
reverb = 0.2

[training]
batch = 4
epochs = 1
steps_per_epoch = 3
chunk_frames = 50
"""

MOTION = """
name = "small-motion"
task = "tag"

[data]
kind = "sensor"
path = "motion"
name = "SP-SW-HAR, three runs"
licence = "CC BY 4.0"
attribution = "Matey-Sanz, Casteleyn, Granell"
labels = ["SEATED", "STANDING_UP", "WALKING", "TURNING"]
dev = ["s15"]
test = ["s22"]

[frontend]
type = "sensor"
sample_rate = 100.0
channels = [
    { name = "acc_x", unit = "m/s^2" }, { name = "acc_y", unit = "m/s^2" }, { name = "acc_z", unit = "m/s^2" },
    { name = "gyro_x", unit = "rad/s" }, { name = "gyro_y", unit = "rad/s" }, { name = "gyro_z", unit = "rad/s" },
]

[network]
layers = 1
hidden = 4

[streams]
type = "runs"

[training]
batch = 4
epochs = 1
steps_per_epoch = 3
chunk_frames = 50
"""


SENTENCES = """
name = "small-sentences"
task = "classify"

[data]
kind = "token"
path = "sentences"
name = "sentences made up"
licence = "none"
attribution = "nobody"
labels = ["neg", "pos"]

[frontend]
type = "tokens"
width = 6
minimum_count = 1
dropout = 0.2

[network]
layers = 1
hidden = 4
pool = ["last", "mean", "max"]
dropout = 0.2

[streams]
type = "utterances"

[training]
batch = 8
epochs = 4
steps_per_epoch = 20
chunk_frames = 12
learning_rate = 0.03
"""

LANGUAGE = """
name = "small-language"
task = "forecast"

[data]
kind = "token"
path = "verse.txt"
name = "a verse made up"
licence = "none"
attribution = "nobody"

[frontend]
type = "tokens"
cut = "characters"
width = 6
minimum_count = 1
begin = "chance"
unknown_share = 0.0

[network]
layers = 1
hidden = 8

[streams]
type = "text"

[training]
batch = 8
epochs = 2
steps_per_epoch = 10
chunk_frames = 20
learning_rate = 0.02
label_smoothing = 0.0
"""


def write_sentences(folder: Path, count: int = 60) -> Path:
    """Sentences for the film and against it, of a few words each; the folder that they lie in."""
    random = np.random.default_rng(0)
    subjects, verbs = ["the film", "this plot", "it", "her voice", "the end of it"], ["is", "was", "seems"]
    words = {"neg": ["dull", "bad", "slow", "flat"], "pos": ["good", "bright", "warm", "fresh"]}
    (folder / "sentences").mkdir()
    for label, adjectives in words.items():
        lines = [
            " ".join(random.choice(part) for part in (subjects, verbs, ["so", "very", "quite", "a little"], adjectives))
            + f" {number}"
            for number in range(count)
        ]
        (folder / "sentences" / f"{label}.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_verse(folder: Path) -> Path:
    """A verse that goes on and on; the folder that it lies in."""
    (folder / "verse.txt").write_text("row row row your boat\ngently down the stream\n" * 40)
    return folder


def sentence_recipe(**changes: str) -> Recipe:
    """The recipe of sentences with a vocabulary, and with the value of each named setting replaced."""
    words = 'vocabulary = ["<unknown>", "the", "film", "is", "good", "bad"]\nwidth = 6'
    text = SENTENCES.replace("width = 6", words)
    return parse_recipe(changed(text, changes), "small.toml")


VIBRATION = """
name = "small-vibration"
task = "tag"

[data]
kind = "audio"
path = "machines"
name = "generated"
licence = "none needed"
attribution = "nobody"
group_column = "load"
labels = ["sound", "worn"]
test = ["1"]

[frontend]
type = "spectrum"
sample_rate = 2000
window_length = 128
hop_length = 64
bands = 12
scale = "log"
f_min = 40.0
f_max = 900.0
channel = { name = "DE", unit = "g" }
full_scale = 8.0

[network]
layers = 1
hidden = 8

[streams]
type = "signals"
stretch_s = 0.5
mask_bands = 2

[training]
batch = 4
epochs = 2
steps_per_epoch = 20
chunk_frames = 40
learning_rate = 0.03
"""


def sound_recipe(**changes: str) -> Recipe:
    """The sound recipe, with the value of each named setting replaced."""
    return parse_recipe(changed(SOUND, changes), "small.toml")


def motion_recipe(**changes: str) -> Recipe:
    """The motion recipe, with the value of each named setting replaced."""
    return parse_recipe(changed(MOTION, changes), "small.toml")


def random_scaling(network: Network) -> Network:
    """The network with a scaling as training might find it, and weights that answer to what they hear."""
    frontend = network.frontend
    frontend.offset.copy_(torch.randn(frontend.features) * 10)
    frontend.factor.copy_(torch.rand(frontend.features) / 10 + 0.02)
    with torch.no_grad():
        network.head.weight.mul_(4)
    return network


def changed(text: str, changes: dict[str, str]) -> str:
    """A recipe's text with the value of each named setting replaced."""
    lines = text.splitlines()
    for name, value in changes.items():
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{name} ="))
        lines[at] = f"{name} = {value}"
    return "\n".join(lines)
