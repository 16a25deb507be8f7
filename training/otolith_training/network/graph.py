"""The graph of a network, written by hand: front end, convolution, recurrent layers, head, as `Network` runs them.

Each node costs about 0.2 us a call, so there are few of them, and whatever is linear is folded into the weights behind
it: DCT, scaling, decibels.
"""

from __future__ import annotations

import numpy as np
import onnx

from otolith_training.network.builder import LAST, NEXT, Array, Graph, to_array
from otolith_training.network.cells import write_layer
from otolith_training.network.frontend import (
    AMIN,
    DB,
    EnergyFrontend,
    Frontend,
    SoundFrontend,
    SpectrumFrontend,
    TokenFrontend,
)
from otolith_training.network.network import Network
from otolith_training.network.spectrum import Factors, band_stage, first_stage, last_stage, power_matrices


def network_graph(network: Network) -> onnx.ModelProto:
    """Raw frames to what the model file puts out, as `Network.forward` and `Head.to_output` give it.

    The network must be one that can be streamed (`export.refuse_look_ahead`).
    """
    graph, head = Graph(), network.head
    x, fold = _frontend(graph, network.frontend)  # (streams, frames, bands), and bands -> scaled features
    rows = x
    if network.convolution is not None:
        x = _convolution(graph, x, network, fold)
        fold = np.eye(network.convolution.out_features)
    x = graph.add("Transpose", x, perm=[1, 0, 2])  # (frames, streams, ...): the order that recurrent operators want
    for index, layer in enumerate(network.recurrent):
        x = write_layer(graph, x, str(index), layer, fold)
        fold = np.eye(network.settings.hidden)
    if head.sees_rows:  # only a sensor's features are as wide as its bands
        rows = graph.add("Mul", rows, graph.constant("factor", network.frontend.factor))
        x = graph.add("Concat", x, graph.add("Transpose", rows, perm=[1, 0, 2]), axis=2)
    head.write(graph, x)
    return graph.model(_frame_shape(network.frontend), head.output, head.output_shape)


def features_graph(frontend: Frontend) -> onnx.ModelProto:
    """Raw frames to unscaled features, by the same nodes as in `network_graph`: to hold MFCC to librosa."""
    graph = Graph()
    x, _ = _frontend(graph, frontend)
    unfold = DB * to_array(frontend.mixing) if isinstance(frontend, SoundFrontend) else np.eye(frontend.features)
    if isinstance(frontend, EnergyFrontend):
        unfold = np.diag(np.repeat((1, DB), frontend.channels))
    x = graph.add("MatMul", x, graph.constant("unfold", unfold))
    graph.add("Add", x, graph.constant("offset", frontend.offset), output="features")
    return graph.model(_frame_shape(frontend), "features", [frontend.features])


def _frontend(graph: Graph, frontend: Frontend) -> tuple[str, Array]:
    """Centred bands `(streams, frames, bands)`, and the matrix that makes scaled features of them.

    Centred: zero where scaled features are zero, so that a carried zero means the same on both sides of the fold.
    """
    if isinstance(frontend, TokenFrontend):
        vectors = graph.constant("embedding", frontend.embedding.weight)
        return graph.add("Gather", vectors, "frames"), np.eye(frontend.features)
    factor = to_array(frontend.factor)
    if isinstance(frontend, EnergyFrontend):
        return _energies(graph, frontend), np.diag(np.repeat((1, DB), frontend.channels) * factor)
    if not isinstance(frontend, SoundFrontend):
        return graph.add("Sub", "frames", graph.constant("offset", frontend.offset)), np.diag(factor)
    neutral = to_array(frontend.neutral()) / DB  # natural logarithm of power; subtracted by scaling the filters
    windows = graph.add("Mul", _windows(graph, frontend), graph.constant("hann", frontend.hann))
    filters = to_array(frontend.filters) * np.exp(-neutral)
    power = _band_power(graph, windows, filters, frontend.settings.window_length)
    floored = graph.add("Max", power, graph.constant("floor", AMIN * np.exp(-neutral)))
    bands = graph.add("Log", floored)
    if isinstance(frontend, SpectrumFrontend) and frontend.average > 1:
        bands = _averaged(graph, bands, frontend.average, frontend.features)
    return bands, DB * to_array(frontend.mixing) * factor


def _averaged(graph: Graph, bands: str, average: int, count: int) -> str:
    """The mean of the last `average` frames' bands `(streams, frames, bands)`, by a convolution along time."""
    past = graph.add("Concat", graph.state("bands", average - 1, count), bands, axis=1)
    graph.slice(past, 1, 1 - average, output="state.bands" + NEXT)
    kernel = graph.constant("average", np.full((1, 1, average, 1), 1 / average))
    x = graph.add("Conv", graph.add("Unsqueeze", past, graph.ints(1)), kernel)  # (streams, 1, frames, bands)
    return graph.add("Squeeze", x, graph.ints(1))


def _energies(graph: Graph, frontend: EnergyFrontend) -> str:
    """Centred rows, and centred logarithms of their energies beside them `(streams, frames, 2 channels)`."""
    channels, carried = frontend.channels, frontend.energy_rows - 1
    offset = to_array(frontend.offset)
    neutral = offset[channels:] / DB  # as of sound: subtracted by scaling what the logarithm is taken of
    rows = graph.add("Sub", "frames", graph.constant("offset", offset[:channels]))
    past = graph.add("Concat", graph.state("row", 1, channels), rows, axis=1)
    graph.slice(past, 1, -1, output="state.row" + NEXT)
    moved = graph.add("Sub", rows, graph.slice(past, 1, 0, -1))
    squares = graph.add("Concat", graph.state("squares", carried, channels), graph.add("Mul", moved, moved), axis=1)
    count = graph.add("Shape", rows, start=1, end=2)
    graph.add("Slice", squares, count, graph.ints(LAST), graph.ints(1), output="state.squares" + NEXT)
    weights = np.exp(-neutral) / frontend.energy_rows
    kernel = graph.constant("energies", np.tile(weights[:, None, None], (1, 1, frontend.energy_rows)))
    x = graph.add("Conv", graph.add("Transpose", squares, perm=[0, 2, 1]), kernel, group=channels)
    floor = graph.constant("floor", np.exp(to_array(frontend.floor) / DB - neutral))
    x = graph.add("Max", graph.add("Transpose", x, perm=[0, 2, 1]), floor)
    return graph.add("Concat", rows, graph.add("Log", x), axis=2)


def _windows(graph: Graph, frontend: SoundFrontend) -> str:
    """Overlapping windows `(streams, frames, window)` from the carried hops and the new ones."""
    hop, window, carried = frontend.settings.hop_length, frontend.settings.window_length, frontend.hops_carried
    if carried == 0:
        return "frames"
    hops = graph.add("Concat", graph.state("window", carried, hop), "frames", axis=1)
    graph.slice(hops, 1, -carried, output="state.window" + NEXT)
    skipped = (carried + 1) * hop - window  # of the oldest hop, which the window only half reaches
    stretch = [graph.ints(*ends) for ends in ((0, skipped), (-carried, LAST), (1, 2))]
    oldest = graph.add("Slice", hops, *stretch)
    between = [graph.slice(hops, 1, j, j - carried) for j in range(1, carried)]
    return graph.add("Concat", oldest, *between, "frames", axis=2)


def _band_power(graph: Graph, windows: str, filters: Array, length: int) -> str:
    """Bands of the power spectrum of windows of `length` samples, `(streams, frames, bands)`."""
    factors = Factors.of(length)
    if factors is None:
        return _dense_band_power(graph, windows, filters, length)
    x = graph.add("Reshape", windows, graph.ints(0, 0, factors.rows, factors.columns))
    x = graph.add("MatMul", graph.constant("dft.first", first_stage(factors)), x)  # (s, f, 2 kept, columns)
    x = graph.add("Reshape", x, graph.ints(-1, factors.kept, 2 * factors.columns))
    x = graph.add("Transpose", x, perm=[1, 0, 2])  # (kept, s * f, 2 columns)
    x = graph.add("MatMul", x, graph.constant("dft.last", last_stage(factors)))
    x = graph.add("Mul", x, x)
    x = graph.add("Transpose", x, perm=[1, 0, 2])
    x = graph.add("Reshape", x, graph.ints(-1, factors.kept * 2 * factors.columns))
    x = graph.add("MatMul", x, graph.constant("bands", band_stage(factors, filters)))  # (s * f, bands)
    shape = graph.add("Shape", "frames", start=0, end=2)
    shape = graph.add("Concat", shape, graph.ints(filters.shape[1]), axis=0)
    return graph.add("Reshape", x, shape)


def _dense_band_power(graph: Graph, windows: str, filters: Array, length: int) -> str:
    """For window lengths without good factors: one multiplication by the whole DFT."""
    cosines, sines = power_matrices(length)
    x = graph.add("MatMul", windows, graph.constant("dft", np.concatenate((cosines, sines), axis=1)))
    x = graph.add("Mul", x, x)
    return graph.add("MatMul", x, graph.constant("bands", np.concatenate((filters, filters))))


def _convolution(graph: Graph, x: str, network: Network, fold: Array) -> str:
    """A convolution over the last `kernel` frames: shifted copies side by side, one multiplication, ReLU."""
    assert network.convolution is not None  # noqa: S101
    assert network.settings.convolution is not None  # noqa: S101
    kernel = network.settings.convolution.kernel
    if kernel > 1:
        past = graph.add("Concat", graph.state("convolution", kernel - 1, len(fold)), x, axis=1)
        graph.slice(past, 1, 1 - kernel, output="state.convolution" + NEXT)
        shifted = [graph.slice(past, 1, j, j + 1 - kernel) for j in range(kernel - 1)]
        x = graph.add("Concat", *shifted, x, axis=2)
    weight = to_array(network.convolution.weight).T.reshape(kernel, fold.shape[1], -1)
    folded = np.concatenate([fold @ part for part in weight])
    x = graph.add("MatMul", x, graph.constant("convolution.weight", folded))
    x = graph.add("Add", x, graph.constant("convolution.bias", network.convolution.bias))
    return graph.add("Relu", x)


def _frame_shape(frontend: Frontend) -> list[int]:
    if isinstance(frontend, TokenFrontend):
        return []
    if isinstance(frontend, EnergyFrontend):
        return [frontend.channels]
    return [frontend.settings.hop_length] if isinstance(frontend, SoundFrontend) else [frontend.features]
