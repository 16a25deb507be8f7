"""Figures as tables: on a terminal, and in the Markdown card beside a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET
from rich.console import Console
from rich.table import Table

from otolith.inference.card import Card, Tokens

UNITS = ("clips", "stretches", "lines", "rows", "runs", "tokens")


def unit_of(figures: Mapping[str, Any]) -> str:
    """What was decided one by one: clips, stretches of signals, lines, rows, ..."""
    return next(unit for unit in UNITS if unit in figures)


def print_figures(figures: Mapping[str, Any], console: Console) -> None:
    """What `evaluate` found, for people."""
    unit = unit_of(figures)
    console.print(
        f"{figures['model']} on {figures['data']}, split {figures['split']}, {figures[unit]:,} {unit}",
        markup=False,
        soft_wrap=True,  # a line that a program reads stays one
    )
    console.print(in_short(figures))
    if "confusion" not in figures:
        return
    table = Table("label", unit, "precision", "recall", "F1", "taken for")
    for label, row in zip(figures["confusion"]["labels"], figures["confusion"]["matrix"], strict=True):
        of = figures["per_label"][label]
        if of["support"]:
            told = [f"{of[key]:.3f}" for key in ("precision", "recall", "f1")]
            table.add_row(label, f"{of['support']:,}", *told, _taken_for(label, row, figures["confusion"]["labels"]))
    console.print(table)


def in_short(figures: Mapping[str, Any]) -> str:
    """The figures that matter, in a line: of labels that were told, or of tokens that were forecast."""
    if "perplexity" in figures:
        return (
            f"perplexity {figures['perplexity']:.2f}, {figures['bits_per_token']:.3f} bits a token, "
            f"{figures['accuracy']:.1%} forecast first"
        )
    return f"accuracy {figures['accuracy']:.1%}, macro-F1 {figures['macro_f1']:.3f}"


def _taken_for(label: str, row: Sequence[int], labels: Sequence[str]) -> str:
    """What a label was mistaken for, the commonest first."""
    others = sorted(((count, other) for count, other in zip(row, labels, strict=True) if other != label), reverse=True)
    told = [f"{other} {count:,}" for count, other in others if count]
    return ", ".join(told[:3]) + (", ..." if len(told) > 3 else "")


def to_markdown(card: Card, size_bytes: int) -> str:
    """The card in Markdown; every figure comes from the card, so that none can drift from the file."""
    lines = [f"# {card.name}", "", *_summary(card, size_bytes), "", "## Data", ""]
    lines += ["| set | licence | attribution |", "| --- | --- | --- |"]
    lines += [f"| {d.name} | {d.licence} | {d.attribution} |" for d in card.data]
    lines += ["", "## Figures", ""]
    for split, figures in card.metrics.items():
        if isinstance(figures, Mapping):
            lines += _figures(split, figures)
    if card.detector:
        lines += ["## Detector", "", "| label | starts at | ends below | smoothing | rest |"]
        lines += ["| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {label} | {t.threshold:g} | {t.release:g} | {t.smoothing_s:g} s | {t.refractory_s:g} s |"
        for label, t in card.detector.items()
    ]
    made = ", ".join(f"{name} {version}" for name, version in card.made.versions.items())
    lines += ["", "## Limits", "", str(card.metrics.get("limits", "")).strip(), ""]
    lines += ["## Made", "", f"{card.made.time}, seed {card.made.seed}, with {made}.", ""]
    return "\n".join(lines)


def _summary(card: Card, size_bytes: int) -> list[str]:
    what = ", ".join(f"{c.name} ({c.unit})" for c in card.channels)
    if card.kind == "audio":
        what = "sound" if card.full_scale is UNSET else f"{what}, a sample of 1 is {card.full_scale:g}"
    if isinstance(card.tokens, Tokens):
        return [
            f"- reads: {card.tokens.cut}, of which it knows {len(card.tokens.vocabulary):,}",
            f"- tells: {'the next one' if card.task == 'forecast' else ', '.join(card.labels)}",
            *_size(card, size_bytes),
        ]
    step = f"{card.hop_length} samples ({1000 * card.hop_length / card.sample_rate:g} ms)"
    lines = [
        f"- hears: {what} at {card.sample_rate:g} Hz, a step every {step if card.kind == 'audio' else 'row'}",
        f"- tells: {', '.join(card.labels)}"
        if card.output != "forecast"
        else f"- tells: the {card.output_shape[0]} rows that follow" + (", and anomalies" if card.anomaly else ""),
    ]
    if card.background is not None:
        lines.append(f"- nothing happens: {card.background}")
    return lines + _size(card, size_bytes)


def _size(card: Card, size_bytes: int) -> list[str]:
    if "parameters" not in card.metrics:
        return []
    return [f"- size: {card.metrics['parameters']:,} parameters, {size_bytes / 1000:.0f} kB"]


def _figures(split: str, figures: Mapping[str, Any]) -> list[str]:
    lines = [f"### {split}", "", "| what | figure |", "| --- | --- |"]
    plain = {name: value for name, value in figures.items() if isinstance(value, int | float | str)}
    for name, value in plain.items():
        interval = figures.get(f"{name}_interval")
        sure = f" ({_told(name, interval[0])} to {_told(name, interval[1])})" if interval else ""
        lines.append(f"| {name.replace('_', ' ')} | {_told(name, value)}{sure} |")
    if (delay := figures.get("delay_s")) and delay["median"] is not None:
        lines.append(f"| delay, median and 95th | {delay['median']:.2f} s, {delay['p95']:.2f} s |")
    if isinstance(runs := figures.get("runs"), Mapping):
        interval = " to ".join(_told("accuracy", edge) for edge in runs["accuracy_interval"])
        lines.append(
            f"| accuracy of {runs['runs']:,} whole runs | {_told('accuracy', runs['accuracy'])} ({interval}) |"
        )
    if over := figures.get("interval_over"):
        lines.append(f"| intervals (95 %) over | {over['count']} {over['unit']}s |")
    for name, of in figures.get("per_group", {}).items():
        lines.append(f"| accuracy of group {name} | {_told('accuracy', of['accuracy'])} |")
    per_label = figures.get("per_label")
    if per_label and all("precision" in of for of in per_label.values()):
        lines += ["", "| label | precision | recall | F1 | support |", "| --- | --- | --- | --- | --- |"]
        for label, of in per_label.items():
            told = " | ".join(f"{of[key]:.3f}" for key in ("precision", "recall", "f1"))
            if of["support"]:
                lines.append(f"| {label} | {told} | {of['support']:,} |")
    if points := figures.get("points"):
        lines += [
            "",
            "| at most, an hour | missed | false alarms | delay, median and 95th |",
            "| --- | --- | --- | --- |",
        ]
        lines += [_point(point) for point in points]
    return [*lines, ""]


def _point(point: Mapping[str, Any]) -> str:
    """A budget's line; a budget that no threshold keeps to has nothing to tell."""
    if "missed" not in point:
        return f"| {point['target']:g} | | | |"
    low, high = point["missed_interval"]
    missed = f"{point['missed']:.1%} ({low:.1%} to {high:.1%})"
    delay = point["delay_s"]
    told = f"{delay['median']:.2f} s, {delay['p95']:.2f} s" if delay else ""
    return f"| {point['target']:g} | {missed} | {point['false_alarms']} | {told} |"


def _told(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1%}" if name in ("accuracy", "missed") else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
