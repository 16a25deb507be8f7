"""What is measured on: a sound, the words that ship, and a model as large as the peers' networks."""

from __future__ import annotations

from pathlib import Path

from otolith.recordings import load_audio

ROOT = Path(__file__).parent.parent
WORDS = ROOT / "exported_models" / "words.onnx"
SOUND = ROOT / "examples" / "demo" / "words.flac"
RATE = 16000
GRU_64 = """
name = "gru-64"
task = "tag"
[data]
kind = "audio"
path = "clips"
name = "none"
licence = "none"
attribution = "none"
labels = ["yes", "no"]
background = "_background_"
[frontend]
type = "mfcc"
sample_rate = 16000
[network]
layers = 1
hidden = 64
[streams]
type = "clips"
[training]
batch = 1
epochs = 1
steps_per_epoch = 1
chunk_frames = 50
"""


def make_gru_64(folder: Path) -> Path:
    """A GRU of 64 units on 40 MFCC with random weights; needs the training extra."""
    import torch

    from otolith_training.network.cards import make_card
    from otolith_training.network.export import export
    from otolith_training.network.network import make_network
    from otolith_training.recipe_file import parse_recipe

    torch.manual_seed(0)
    recipe = parse_recipe(GRU_64, "gru-64")
    path = folder / "gru-64.onnx"
    export(make_network(recipe), make_card(recipe, GRU_64), [], path)
    return path


def sound_bytes() -> bytes:
    """The demo's recording as raw s16le mono at 16 kHz: half a minute of real words over real noise."""
    return (load_audio(SOUND, RATE) * 32767).astype("<i2").tobytes()
