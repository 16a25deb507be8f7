"""Recipes made small: real recordings, a few units, a few steps."""

from __future__ import annotations

from pathlib import Path

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
