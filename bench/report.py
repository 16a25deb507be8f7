"""From figures to what is read: medians and ranges, JSON, a Markdown table, a plot."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from machine import describe, in_words

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """A median with its range, of figures that were taken in one run."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Figure:
        taken = list(values)
        return cls(statistics.median(taken), min(taken), max(taken))

    def __str__(self) -> str:
        if self.least == self.most:
            return _short(self.median)
        return f"{_short(self.median)} ({_short(self.least)} to {_short(self.most)})"


Lines = Mapping[str, Mapping[float, Figure]]  # by name: what was varied -> what it gave


def counted(number: int, what: str) -> str:
    """`1 stream`, `8 streams`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def plot(path: Path, lines: Lines, across: str, up: str) -> None:
    """Lines on logarithmic axes with their ranges as bars, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "otolith"  # the same figures make the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 5), layout="constrained")
    axes.set_prop_cycle(color=pyplot.get_cmap("tab20").colors[::2] + pyplot.get_cmap("tab20").colors[1::2])
    for name, line in lines.items():
        medians = [each.median for each in line.values()]
        below = [each.median - each.least for each in line.values()]
        above = [each.most - each.median for each in line.values()]
        width = 2.4 if name.startswith("otolith") else 1.2
        axes.errorbar(list(line), medians, [below, above], label=name, marker="o", lw=width, ms=4, capsize=2)
    axes.set(xscale="log", yscale="log", xlabel=across, ylabel=up)
    ticks = sorted({at for line in lines.values() for at in line})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def write(folder: Path, name: str, title: str, figures: Mapping[str, object], tables: str) -> None:
    """`name.json` and `name.md` into a folder, and the tables to standard output."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = describe()
    (folder / f"{name}.json").write_text(json.dumps({"machine": machine, **figures}, indent=1) + "\n", "utf-8")
    text = f"## {title}\n\n{tables}\n{in_words(machine)}\n"
    (folder / f"{name}.md").write_text(text, "utf-8")
    print(text)


def _short(value: float) -> str:
    """Three digits that say something, without exponents."""
    if abs(value) >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
