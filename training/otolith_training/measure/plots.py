"""The plots of a report, each an SVG that stands inside the page: no script, no request, text as text."""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

import numpy as np
from numpy.typing import NDArray

from otolith_training.measure.exhibits import Strip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, GRID = "#1d2733", "#66727f", "#e3e7eb"
BLUE, RED = "#1f6feb", "#d1495b"
PALETTE = (
    "#1f6feb", "#d1495b", "#2a9d5c", "#e08e0b", "#7c4dcc", "#0e9aa7", "#c2408f", "#8a6d3b", "#00b4d8", "#6b8e23",
    "#b5651d", "#2f4b7c", "#a05195",
)  # fmt: skip
QUIET = "#b6bec7"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "grid.color": GRID,
    "text.parse_math": False,  # a label may hold a dollar
}

Floats = NDArray[np.float64]
P = ParamSpec("P")


def styled(draw: Callable[P, str]) -> Callable[P, str]:
    """Draw in the report's style and leave matplotlib's own settings as they were."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> str:
        import matplotlib as mpl

        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


@styled
def curve(figures: Mapping[str, Any]) -> str:
    """Events missed against false alarms an hour, with the band of the intervals and the card's own point; of a second
    model as well, where there is one."""
    figure, axes = _begin(7.6, 4.4)
    hours = figures["hours"]
    floor = 0.3 / hours  # where "none at all" is drawn on a logarithmic axis
    rates, missed = _trace(axes, figures["curve"], floor, BLUE)
    if rival := figures.get("compare", {}).get("curve"):
        others, others_missed = _trace(axes, rival, floor, SOFT)
        rates, missed = np.append(rates, others), np.append(missed, others_missed)
        names = (figures["model"], BLUE), (figures["compare"]["model"], SOFT)
        for row, (name, colour) in enumerate(names):
            axes.text(0.985, 0.97 - 0.06 * row, name, transform=axes.transAxes, ha="right", va="top", color=colour)
    _mark_points(axes, figures, floor)
    axes.axvspan(floor * 0.7, 3 / hours, color=INK, alpha=0.04, linewidth=0)
    axes.text(
        3 / hours * 0.93, 0.985, "too few hours to tell", transform=axes.get_xaxis_transform(), ha="right", va="top",
        color=SOFT, fontsize=9,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlim(floor * 0.7, max(60.0, min(600.0, float(rates.max()))))
    axes.set_ylim(0, min(100, max(10.0, 1.15 * float(missed[rates <= 600].max(initial=0)))))
    axes.set_xlabel("false alarms an hour")
    axes.set_ylabel("missed, %")
    axes.grid(True)
    return _svg(figure, "misses against false alarms")


def _trace(axes: Axes, points: Sequence[Mapping[str, Any]], floor: float, colour: str) -> tuple[Floats, Floats]:
    """Draw a curve with its band; returns its rates and its missed, in %."""
    points = _frontier(points)
    rates = np.array([max(point["false_alarms_per_hour"], floor) for point in points])
    missed = 100 * np.array([point["missed"] for point in points])
    low, high = 100 * np.array([point["missed_interval"] for point in points]).T
    axes.fill_between(rates, low, high, step="mid", color=colour, alpha=0.14, linewidth=0)
    axes.plot(rates, missed, color=colour, linewidth=2)
    return rates, missed


def _mark_points(axes: Axes, figures: Mapping[str, Any], floor: float) -> None:
    """Where the budgets are reached, and where the model ships."""
    reached: dict[tuple[float, float], list[str]] = {}
    for target in figures["operating_points"]:
        if target.get("missed") is not None:
            at = max(target["false_alarms_per_hour"], floor), 100 * target["missed"]
            reached.setdefault(at, []).append(f"{target['target']:g}")
    for at, targets in reached.items():
        axes.plot(*at, "o", color="white", markeredgecolor=BLUE, markeredgewidth=1.6, markersize=6)
        told = f"≤ {', '.join(targets)}/h"
        axes.annotate(told, at, (5, 5), textcoords="offset points", color=SOFT, fontsize=9)
    own = figures["at_card"]
    at = max(own["false_alarms_per_hour"], floor), 100 * own["missed"]
    axes.plot(*at, "D", color=RED, markersize=7)
    axes.annotate(
        "as shipped", at, (-7, -5), textcoords="offset points", ha="right", va="top", color=RED, fontweight="bold"
    )


@styled
def groups(per_group: Mapping[str, Mapping[str, Any]], overall: float) -> str:
    """Accuracy of every speaker or subject, lowest first."""
    ordered = sorted(per_group.items(), key=lambda item: item[1]["accuracy"])
    figure, axes = _begin(7.6, 2.6)
    values = [100 * figures["accuracy"] for _, figures in ordered]
    axes.vlines(range(len(values)), values, 100 * overall, color=BLUE, alpha=0.3, linewidth=2)
    axes.plot(range(len(values)), values, "o", color=BLUE, markersize=6)
    axes.axhline(100 * overall, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_ylim(max(0, 10 * math.floor(min(values) / 10) - 5), 102)
    axes.set_xticks(range(len(values)), [name[:8] for name, _ in ordered], rotation=60 if len(values) > 8 else 0)
    axes.tick_params(axis="x", labelsize=8, length=0)
    axes.set_xlim(-0.7, len(values) - 0.3)
    axes.set_ylabel("accuracy, %")
    axes.grid(True, axis="y")
    return _svg(figure, "accuracy by group")


@styled
def soak(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    """The figure of that key after so many minutes of carried state, with its interval."""
    figure, axes = _begin(7.6, 2.4)
    values = 100 * np.array([row[key] for row in rows])
    low, high = 100 * np.array([row[f"{key}_interval"] for row in rows]).T
    places = range(len(rows))
    axes.errorbar(places, values, [values - low, high - values], fmt="o-", color=BLUE, capsize=4, linewidth=1.6)
    axes.set_xticks(places, [f"{row['minutes']:g} min" if row["minutes"] else "fresh" for row in rows])
    axes.set_xlim(-0.4, len(rows) - 0.6)
    axes.set_ylabel(f"{key}, %")
    axes.grid(True, axis="y")
    return _svg(figure, "the same test after carried state")


@styled
def timeline(strip: Strip) -> str:
    """Posteriors over time, above them what was to be heard and what was detected, below them the sound."""
    from matplotlib.figure import Figure

    heights = [0.9, 3.0] + ([0.8] if strip.sound is not None else [])
    figure = Figure(figsize=(11, sum(heights) * 0.8), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    colours = _colours(strip)
    length_s = len(strip.posteriors) * strip.frame_s
    _draw_spans(axes[0], strip, colours, length_s)
    _draw_posteriors(axes[1], strip, colours)
    if strip.sound is not None:
        _draw_sound(axes[2], strip, length_s)
    axes[-1].set_xlabel("seconds")
    axes[-1].set_xlim(0, length_s)
    return _svg(figure, strip.title)


def _draw_spans(axes: Axes, strip: Strip, colours: Mapping[str, str], length_s: float) -> None:
    letter = length_s / 120  # about as wide as one is
    for row, spans in ((1, strip.truth), (0, strip.detected)):
        following = [*(start for _, start, _ in spans[1:]), length_s][: len(spans)]
        for (label, start, end), room_until in zip(spans, following, strict=True):
            colour, width = colours.get(label, QUIET), (len(label) + 1) * letter
            axes.barh(
                row, end - start, left=start, height=0.72, color=colour, alpha=0.9 if row == 0 else 0.45, linewidth=0
            )
            if width <= end - start:
                ink = "white" if row == 0 else INK
                axes.text((start + end) / 2, row, label, ha="center", va="center", fontsize=8, color=ink)
            elif end + width <= room_until:
                axes.text(end + letter / 2, row, label, ha="left", va="center", fontsize=8, color=INK)
    axes.set_yticks([0, 1], ["detected", "truth"])
    axes.set_ylim(-0.5, 1.5)
    axes.tick_params(length=0, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_posteriors(axes: Axes, strip: Strip, colours: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    time_s = (np.arange(len(strip.posteriors)) + 1) * strip.frame_s
    step = max(1, len(time_s) // 2000)
    for index, label in enumerate(strip.labels):
        if label in colours:
            values, dashes = strip.posteriors[::step, index], _dashes(label)
            axes.plot(time_s[::step], values, color=colours[label], linewidth=1.3, linestyle=dashes)
    handles = [Line2D([], [], color=colour, linewidth=2, linestyle=_dashes(of)) for of, colour in colours.items()]
    axes.legend(
        handles,
        list(colours),
        loc="upper left",
        bbox_to_anchor=(1.0, 1.02),
        frameon=False,
        fontsize=8,
        handlelength=1.2,
    )
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("posterior")
    axes.grid(True, axis="y")
    axes.tick_params(labelbottom=strip.sound is None)


def _draw_sound(axes: Axes, strip: Strip, length_s: float) -> None:
    assert strip.sound is not None  # noqa: S101 - the caller looked
    columns = min(1200, len(strip.sound))
    edges = np.linspace(0, len(strip.sound), columns, endpoint=False).astype(np.int64)
    time_s = np.linspace(0, length_s, columns)
    low, high = np.minimum.reduceat(strip.sound, edges), np.maximum.reduceat(strip.sound, edges)
    axes.fill_between(time_s, low, high, color=SOFT, linewidth=0)
    peak = max(0.01, float(np.abs(strip.sound).max()))
    axes.set_ylim(-peak, peak)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _colours(strip: Strip) -> dict[str, str]:
    """A colour for each label that rises in the strip or was to be heard; marks of what is no word are grey."""
    shown = {label for label, *_ in (*strip.truth, *strip.detected)}
    highest = strip.posteriors.max(axis=0, initial=0)
    named = [label for label, value in zip(strip.labels, highest, strict=True) if value > 0.15 or label in shown]
    colours = {}
    free = iter(PALETTE)
    for label in named:
        colours[label] = QUIET if label.startswith("_") else next(free, QUIET)
    return colours


def _dashes(label: str) -> Literal["-", ":"]:
    """Two marks of what is no word may stand in one strip, and both are grey."""
    return ":" if label.startswith("_unknown") else "-"


def _frontier(curve: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The curve's points, but of those without any alarm only the one that misses least."""
    points = [point for point in curve if point["missed"] is not None]
    silent = [point for point in points if point["false_alarms_per_hour"] == 0]
    return [point for point in points if point["false_alarms_per_hour"] > 0] + sorted(
        silent, key=lambda point: float(point["missed"])
    )[:1]


def _begin(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure, title: str) -> str:
    """The figure as an element of a page; `title` makes its inner names its own and reproducible."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": title}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    attributes, end, body = out.getvalue().partition("<svg ")[2].partition(">")
    attributes = re.sub(r'\b(width|height|xmlns(:\w+)?)="[^"]*" ?', "", attributes)  # a page knows what an SVG is
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    return f'<svg role="img" {attributes}{end}{body}'
