"""Figures of streams as tables on a terminal: long recordings, the soak, and two models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from otolith_training.measure.forecasts import print_forecasts
from otolith_training.measure.report import FEW, comparison_rows, percent, percents, point_cells, soak_table
from otolith_training.measure.tables import print_figures

POINT = ("missed (95 %)", "false alarms", "an hour (95 %)", "delay, median / 95th")


def print_evaluation(figures: Mapping[str, Any], console: Console) -> None:
    """All that `evaluate` found, for people."""
    if "naive" in figures:
        print_forecasts(figures, console)
    elif "curve" in figures:
        _print_long(figures, console)
    else:
        print_figures(figures, console)
        if "interval_over" in figures:  # of tokens there is one running text, and no interval
            _print_certainty(figures, console)
    if "soak" in figures:
        _print("the same test after carried state", *soak_table(figures["soak"]), console)
    if "compare" in figures:
        compared = figures["compare"]
        head = ("", figures["model"], compared["model"], "difference (95 %)")
        _print("side by side", head, comparison_rows(compared), console)


def _print_certainty(figures: Mapping[str, Any], console: Console) -> None:
    """How sure one can be of decisions, how late they are, and what whole runs come to."""
    over = figures["interval_over"]
    accuracy, macro_f1 = figures["accuracy_interval"], figures["macro_f1_interval"]
    console.print(
        f"95 %: accuracy {percents(accuracy)}, macro-F1 {macro_f1[0]:.3f} to {macro_f1[1]:.3f} "
        f"(over {over['count']} {over['unit']}s"
        + (", too few for an interval as wide as it should be)" if over["count"] < FEW else ")"),
        soft_wrap=True,
    )
    if (delay := figures.get("delay_s")) and delay["median"] is not None:
        console.print(
            f"a new label is told {delay['median']:.2f} s after it begins (median; 95th {delay['p95']:.2f} s); "
            f"{percent(delay['missed'])} of {delay['changes']} never",
            soft_wrap=True,
        )
    if runs := figures.get("runs"):
        console.print(
            f"whole runs, a decision each: accuracy {runs['accuracy']:.1%} of {runs['runs']:,} "
            f"({percents(runs['accuracy_interval'])}), macro-F1 {runs['macro_f1']:.3f}",
            soft_wrap=True,
        )


def _print_long(figures: Mapping[str, Any], console: Console) -> None:
    console.print(
        f"{figures['model']} on {figures['data']}, split {figures['split']}: {figures['recordings']} recordings, "
        f"{figures['hours']:.2f} h ({figures['negative_hours']:.2f} h without events), {figures['events']:,} events",
        markup=False,
        soft_wrap=True,
    )
    rows = [["as shipped", *point_cells(figures["at_card"])]]
    for point in figures["operating_points"]:
        mark = "" if point["supported"] else " *"
        rows.append([f"at most {point['target']:g} an hour{mark}", *point_cells(point)])
    _print("at a budget of false alarms", ("", *POINT), rows, console)
    for point in figures["operating_points"]:
        if "note" in point:
            console.print(f"* {point['target']:g} an hour: {point['note']}", soft_wrap=True)
    by_label = [[label, *point_cells(of)] for label, of in figures["at_card"]["per_label"].items()]
    _print("by label, as shipped", ("label", *POINT), by_label, console)


def _print(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    table = Table(escape(head[0]), title=title)
    for name in head[1:]:
        table.add_column(escape(name), justify="right")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
