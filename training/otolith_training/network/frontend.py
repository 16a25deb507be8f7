"""The front end: raw frames become features, one torch module that is trained behind and exported with the network.

Sound: the carried hops make overlapping windows, then Hann window, power spectrum, mel bands, decibels, DCT: what
`librosa.feature.mfcc(center=False)` gives with `power_to_db(top_db=None)` (its default floor of 80 dB below the
loudest frame of a whole clip is nothing a stream could know). Vibration: the same without the DCT, over bands evenly or
by ratios apart. Sensors: the rows themselves, and how much each channel moves. All end in a scaling.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from otolith_training.network.bands import dct_matrix, mel_centres, mel_filters, spectrum_edges, spectrum_filters
from otolith_training.recipe import Frontend as FrontendSettings
from otolith_training.recipe import Mfcc, Rows, Sound, Spectrum, Tokens

AMIN = 1e-10  # the lowest power that has decibels, as in librosa
DB = 10 / math.log(10)  # decibels of a natural logarithm of power

UNKNOWN_ID = 0  # of the token that stands for all that are not in the vocabulary

Floats = NDArray[np.float32]
State = dict[str, Tensor]


class Frontend(nn.Module, ABC):
    """What all kinds share: `raw` features, which are linear in what follows, and their scaling."""

    has_own_dropout: ClassVar[bool] = False  # else the first layer's input is dropped as any other layer's
    offset: Tensor  # (features,)
    factor: Tensor  # (features,)
    warm_up = 0  # frames of a fresh stream in which features are not yet what they will be

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("offset", torch.zeros(features))
        self.register_buffer("factor", torch.ones(features))

    @abstractmethod
    def fresh_state(self, streams: int) -> State:
        """The state of streams that have heard nothing."""

    @abstractmethod
    def raw(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Features `(streams, frames, bands)` before any scaling, and the state behind the last frame."""

    def unscaled(self, raw: Tensor) -> Tensor:
        """Features `(streams, frames, features)` in their own units: MFCC, or a sensor's units."""
        return raw

    def neutral(self) -> Tensor:
        """Raw features `(bands,)` that are zero once scaled."""
        return self.offset

    def scaled(self, raw: Tensor) -> Tensor:
        """Features `(streams, frames, features)` as the network sees them, about -1..1."""
        return (self.unscaled(raw) - self.offset) * self.factor

    def forward(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """`(streams, frames, hop)` samples or `(streams, frames, channels)` rows to scaled features, and the state."""
        raw, state = self.raw(frames, state)
        return self.scaled(raw), state


class SoundFrontend(Frontend):
    """Bands of a power spectrum in decibels, of mono samples: what sound and vibration share."""

    hann: Tensor  # (window,)
    filters: Tensor  # (bins, bands)
    centres_hz: Tensor  # (bands,): where each band is widest open
    settings: Sound

    def __init__(self, settings: Sound, features: int, filters: Floats, centres_hz: Floats) -> None:
        super().__init__(features)
        self.settings = settings
        self.hops_carried = math.ceil(settings.window_length / settings.hop_length) - 1
        self.register_buffer("hann", torch.hann_window(settings.window_length, dtype=torch.float64).float())
        self.register_buffer("filters", torch.from_numpy(filters.T.copy()))
        self.register_buffer("centres_hz", torch.from_numpy(centres_hz), persistent=False)

    @property
    @abstractmethod
    def mixing(self) -> Tensor:
        """Bands to unscaled features `(bands, features)`, an orthonormal matrix or part of one."""

    def fresh_state(self, streams: int) -> State:
        """Silence before the first sample."""
        return {"window": self.hann.new_zeros(streams, self.hops_carried, self.settings.hop_length)}

    def raw(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Bands in decibels."""
        windows, state = self.windows(frames, state)
        spectrum = torch.fft.rfft(windows * self.hann)
        power = spectrum.real.square() + spectrum.imag.square()  # (streams, frames, bins)
        return torch.log(torch.clamp(power @ self.filters, min=AMIN)) * DB, state

    def windows(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Overlapping windows `(streams, frames, window)`, the last of which ends with the last frame."""
        carried = self.hops_carried
        hops = torch.cat((state["window"], frames), dim=1)
        count = frames.shape[1]
        parts = [hops[:, j : j + count] for j in range(carried + 1)]
        parts[0] = parts[0][..., (carried + 1) * self.settings.hop_length - self.settings.window_length :]
        return torch.cat(parts, dim=2), {"window": hops[:, count:]}

    def neutral(self) -> Tensor:
        """Bands `(bands,)` whose features are the offset."""
        return self.mixing @ self.offset

    def unscaled(self, raw: Tensor) -> Tensor:
        """MFCC, or the bands themselves."""
        return raw @ self.mixing


class MfccFrontend(SoundFrontend):
    """MFCC: mel bands and a cosine transform."""

    dct: Tensor  # (mels, mfcc)

    def __init__(self, settings: Mfcc) -> None:
        super().__init__(settings, settings.n_mfcc, mel_filters(settings), mel_centres(settings))
        self.register_buffer("dct", torch.from_numpy(dct_matrix(settings.n_mels, settings.n_mfcc)))

    @property
    def mixing(self) -> Tensor:
        """The cosine transform."""
        return self.dct


class SpectrumFrontend(SoundFrontend):
    """The bands themselves: a machine's lines and resonances stay where they are."""

    def __init__(self, settings: Spectrum) -> None:
        centres = np.asarray(spectrum_edges(settings)[1:-1], np.float32)
        super().__init__(settings, settings.bands, spectrum_filters(settings), centres)
        self.register_buffer("straight", torch.eye(settings.bands), persistent=False)
        self.average = settings.average
        self.warm_up = settings.average - 1

    def fresh_state(self, streams: int) -> State:
        """Silence, and behind it bands that say nothing."""
        state = super().fresh_state(streams)
        if self.average > 1:
            state["bands"] = self.hann.new_zeros(streams, self.average - 1, self.features)
        return state

    def raw(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Bands in decibels, each the mean of the last `average` frames."""
        bands, following = super().raw(frames, state)
        if self.average == 1:
            return bands, following
        neutral = self.neutral()  # what a fresh zero stands for
        past = torch.cat((state["bands"] + neutral, bands), dim=1)
        following["bands"] = past[:, frames.shape[1] :] - neutral
        return past.unfold(1, self.average, 1).mean(dim=-1), following

    @property
    def mixing(self) -> Tensor:
        """Nothing is mixed."""
        return self.get_buffer("straight")


class RowsFrontend(Frontend):
    """A sensor's rows."""

    def __init__(self, settings: Rows) -> None:
        super().__init__(len(settings.channels))

    def fresh_state(self, streams: int) -> State:  # noqa: ARG002 - nothing is carried, however many streams
        """Nothing is carried."""
        return {}

    def raw(self, frames: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: ARG002
        """The rows themselves."""
        return frames, {}


class EnergyFrontend(Frontend):
    """A sensor's rows, and beside each channel its short-time energy: the mean square of its changes from row to row.

    In decibels, so that what trembles is seen beside what strides. Before a stream's first row all channels stood at
    their mean.
    """

    floor: Tensor  # (channels,), decibels: below it nothing is told apart

    def __init__(self, settings: Rows) -> None:
        self.channels, self.energy_rows = len(settings.channels), settings.energy_rows
        super().__init__(2 * self.channels)
        self.warm_up = self.energy_rows
        self.register_buffer("floor", torch.full((self.channels,), math.log(AMIN) * DB))

    def fresh_state(self, streams: int) -> State:
        """The mean, unmoved."""
        squares = self.floor.new_zeros(streams, self.energy_rows - 1, self.channels)
        return {"row": self.floor.new_zeros(streams, 1, self.channels), "squares": squares}

    def raw(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Rows, and energies `(streams, frames, 2 channels)`."""
        rows = torch.cat((state["row"], frames - self.offset[: self.channels]), dim=1)
        squares = torch.cat((state["squares"], rows.diff(dim=1).square()), dim=1)
        mean = nn.functional.avg_pool1d(squares.transpose(1, 2), self.energy_rows, stride=1).transpose(1, 2)
        energies = torch.maximum(torch.log(torch.clamp(mean, min=AMIN)) * DB, self.floor)
        carried = {"row": rows[:, -1:], "squares": squares[:, frames.shape[1] :]}
        return torch.cat((frames, energies), dim=-1), carried


class TokenFrontend(Frontend):
    """A token's vector: the front end that learns, and is not scaled.

    While training some tokens are taken for the unknown one, and some of the vectors' values are left out, the same all
    through a stream (Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural
    Networks", 2016).
    """

    has_own_dropout = True

    def __init__(self, settings: Tokens) -> None:
        super().__init__(settings.width)
        self.settings = settings
        self.embedding = nn.Embedding(len(settings.vocabulary), settings.width)
        nn.init.normal_(self.embedding.weight, std=0.1)

    def fresh_state(self, streams: int) -> State:  # noqa: ARG002 - as of a sensor's rows
        """Nothing is carried."""
        return {}

    def raw(self, frames: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: ARG002
        """The token ids `(streams, frames)` themselves: nothing of them is learned."""
        return frames, {}

    def scaled(self, raw: Tensor) -> Tensor:
        """Vectors `(streams, frames, features)` of token ids."""
        if not self.training:
            vectors: Tensor = self.embedding(raw)
            return vectors
        s = self.settings
        hidden = torch.rand(raw.shape, device=raw.device) < s.unknown_share
        vectors = self.embedding(raw.masked_fill(hidden, UNKNOWN_ID))
        kept = torch.rand(len(raw), 1, self.features, device=raw.device) >= s.dropout
        return vectors * kept / (1 - s.dropout)


def make_frontend(settings: FrontendSettings) -> Frontend:
    """The front end that a recipe asks for, not scaled yet; of tokens, whose vocabulary must stand in it."""
    match settings:
        case Mfcc():
            return MfccFrontend(settings)
        case Spectrum():
            return SpectrumFrontend(settings)
        case Rows():
            return EnergyFrontend(settings) if settings.energy_rows else RowsFrontend(settings)
        case Tokens():
            return TokenFrontend(settings)


def fit_scaling(frontend: Frontend, features: Tensor, scaling: str) -> None:
    """Set the scaling from unscaled training features `(n, features)`: `z-score` or `min-max`."""
    if scaling == "z-score":
        offset, width = features.mean(dim=0), features.std(dim=0)
    else:
        low, high = features.amin(dim=0), features.amax(dim=0)
        offset, width = (low + high) / 2, (high - low) / 2
    if isinstance(frontend, EnergyFrontend):
        frontend.floor.copy_(features[:, frontend.channels :].amin(dim=0))
    frontend.offset.copy_(offset)
    frontend.factor.copy_(1 / width.clamp(min=1e-5))  # a channel that never moves must not become noise
