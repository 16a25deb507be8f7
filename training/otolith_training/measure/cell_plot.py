"""The plot of a comparison of cells: how far gradients reach, how it was learned, to what end, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from otolith_training.measure.gradients import LOST
from otolith_training.measure.plots import BLUE, INK, RED, SOFT, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"gru": BLUE, "lstm": "#2a9d5c", "rnn": RED}
NAMES = {"gru": "GRU", "lstm": "LSTM", "rnn": "RNN"}
FLOOR = 1e-6  # of the largest gradient: what lies below is not drawn

Cells = Sequence[Mapping[str, Any]]


def draw_comparison(figures: Mapping[str, Any], heading: str, path: Path) -> None:
    """Write the plot at `path` with `.svg` and with `.png`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with mpl.rc_context({**STYLE, "svg.hashsalt": figures["recipe"], "axes.titlecolor": INK}):
        figure = Figure(figsize=(10.4, 7.4), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
        figure.suptitle(heading, x=0.012, ha="left", fontsize=11, color=SOFT)
        axes = figure.subplots(2, 2, gridspec_kw={"width_ratios": (1.25, 1)})
        cells: Cells = figures["cells"]
        _gradients(axes[0, 0], cells, figures["frame_s"])
        _learning(axes[1, 0], cells, figures["budget"])
        _scores(axes[0, 1], cells, "macro-F1" if figures["kind"] == "sensor" else "F1 on streams")
        _costs(axes[1, 1], [cell for cell in cells if cell["step_us"]])
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None}, facecolor="white")
        figure.savefig(path.with_suffix(".png"), dpi=150, facecolor="white")


def _gradients(axes: Axes, cells: Cells, frame_s: float) -> None:
    """Norms relative to their largest, of one-way cells: what reads backwards reaches as far forwards."""
    for cell in cells:
        if cell["bidirectional"]:
            continue
        for which, style in (("fresh", (0, (4, 2))), ("trained", "-")):
            norms = np.array(cell["gradient"][which]["norms"])
            ago_s = np.arange(len(norms)) * frame_s
            told = np.where(norms < FLOOR * norms.max(), np.nan, norms / norms.max())
            label = NAMES[cell["cell"]] if which == "trained" else None
            axes.plot(ago_s, told, linestyle=style, color=COLOURS[cell["cell"]], linewidth=2, label=label)
    axes.axhline(LOST, color=SOFT, linewidth=1)
    axes.text(1, LOST, "lost", color=SOFT, fontsize=9, va="top", ha="right", transform=axes.get_yaxis_transform())
    axes.plot([], [], linestyle=(0, (4, 2)), color=SOFT, linewidth=2, label="before training")
    axes.set_yscale("log")
    axes.set_ylim(FLOOR, 2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.minorticks_off()
    axes.set_xlabel("seconds ago")
    axes.set_title("How much of the gradient is left", loc="left")
    axes.legend(frameon=True, edgecolor="none", framealpha=0.85, loc="lower right", labelcolor=INK)
    axes.grid(True)


def _learning(axes: Axes, cells: Cells, budget: Mapping[str, Any]) -> None:
    steps = budget["steps"] // budget["epochs"]
    for cell in cells:
        scores = 100 * np.array(cell["score"])
        style = ":" if cell["bidirectional"] else "-"
        axes.plot(steps * np.arange(1, len(scores) + 1), scores, style, color=COLOURS[cell["cell"]], linewidth=2)
    if any(cell["bidirectional"] for cell in cells):
        axes.plot([], [], linestyle=":", color=SOFT, linewidth=2, label="reads both ways")
        axes.legend(frameon=True, edgecolor="none", framealpha=0.85, loc="lower right", labelcolor=INK)
    highest, lowest = (f(v for cell in cells for v in cell["score"]) for f in (max, min))
    axes.set_ylim(100 * max(lowest, highest - 0.5) - 2, 100 * highest + 2)
    axes.set_xlabel("steps")
    axes.set_title("While learning: mean of accuracy and F1, %", loc="left")
    axes.grid(True)


def _scores(axes: Axes, cells: Cells, f1_name: str) -> None:
    """Accuracy filled, F1 hollow; the highest first."""
    ordered = sorted(cells, key=lambda cell: float(cell["accuracy"]))
    for row, cell in enumerate(ordered):
        colour = COLOURS[cell["cell"]]
        accuracy, f1 = 100 * cell["accuracy"], 100 * cell["f1"]
        axes.plot([accuracy, f1], [row, row], color=colour, alpha=0.3, linewidth=2)
        axes.plot(f1, row, "o", color="white", markeredgecolor=colour, markeredgewidth=1.8, markersize=8)
        axes.plot(accuracy, row, "o", color=colour, markersize=8)
        axes.annotate(f"{accuracy:.1f}", (accuracy, row), (0, 8), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(range(len(ordered)), [_named(cell) for cell in ordered], color=INK)
    axes.set_ylim(-0.6, len(ordered) - 0.3)
    axes.margins(x=0.12)
    axes.set_title(f"Accuracy (filled), {f1_name} (hollow), %", loc="left")
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")


def _costs(axes: Axes, cells: Cells) -> None:
    """Two bars a cell: a frame alone, and one of 64 in company."""
    if not cells:
        axes.set_axis_off()
        return
    for row, cell in enumerate(cells):
        for offset, alpha, cost in zip((0.2, -0.2), (0.35, 1.0), cell["step_us"].values(), strict=True):
            at = cost, row + offset
            axes.barh(at[1], cost, 0.36, color=COLOURS[cell["cell"]], alpha=alpha, linewidth=0)
            axes.annotate(f"{cost:.1f}", at, (4, 0), textcoords="offset points", va="center", fontsize=9)
    names = [f"{_named(cell)}\n{cell['parameters']:,} weights" for cell in cells]
    axes.set_yticks(range(len(cells)), names, color=INK)
    axes.margins(x=0.15)
    axes.set_title("µs a frame: alone (pale), of 64 (full)", loc="left")
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")


def _named(cell: Mapping[str, Any]) -> str:
    return f"{NAMES[cell['cell']]}, both ways" if cell["bidirectional"] else NAMES[cell["cell"]]
