"""The report: one page that holds all it shows, made of the figures that `--json` prints; it needs no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otolith.errors import OtolithError
from otolith_training.measure import plots
from otolith_training.measure.exhibits import Exhibits, Mistake
from otolith_training.measure.tables import unit_of

Floats = NDArray[np.float32]

WAVE_COLUMNS = 120
FEW = 10  # clusters, of which a bootstrap cannot draw much that is new


def write_report(path: Path, figures: Mapping[str, Any], exhibits: Exhibits) -> None:
    """Write the page to `path`. Raises `OtolithError` where it cannot be written."""
    try:
        path.write_text(render(figures, exhibits), encoding="utf-8")
    except OSError as error:
        raise OtolithError(f"{path}: cannot be written ({error.strerror}); name another file with --report") from None


def render(figures: Mapping[str, Any], exhibits: Exhibits) -> str:
    """The page. Every string that comes from data is escaped where it enters."""
    sections = [
        _headline(figures),
        *(_compared(figures["compare"], figures) if "compare" in figures else []),
        *(_long(figures) if "curve" in figures else _told_apart(figures)),
        *(_soaked(figures["soak"]) if "soak" in figures else []),
        *_strips(exhibits),
        *_mistakes("Missed", "What was there and not heard, the worst first.", exhibits.missed, exhibits.sample_rate),
        *_mistakes(
            "False alarms",
            "What was heard and not there, the surest first.",
            exhibits.false_alarms,
            exhibits.sample_rate,
        ),
        _footnote(figures),
    ]
    style = resources.files("otolith_training.measure").joinpath("report.css").read_text(encoding="utf-8")
    name = escape(figures["model"])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:\">\n"
        f"<style>{style}</style></head><body><main>\n" + "\n".join(sections) + "\n</main></body></html>\n"
    )


def _headline(figures: Mapping[str, Any]) -> str:
    name, _, digest = figures["model"].partition("@")
    what = f"{figures['data']}, split {figures['split']}" if figures["split"] else figures["data"]
    head = f"<header><h1>{escape(name)}</h1><p>{escape(digest)} · {escape(what)}</p></header>"
    tiles = _long_tiles(figures) if "curve" in figures else _clip_tiles(figures)
    inside = "".join(
        f"<div class=tile><span>{escape(label)}</span><b>{escape(value)}</b><small>{escape(note)}</small></div>"
        for label, value, note in tiles
    )
    return f"{head}<div class=tiles>{inside}</div>"


def _clip_tiles(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    unit = unit_of(figures)
    over = figures["interval_over"]
    tiles = [
        ("accuracy", percent(figures["accuracy"]), percents(figures["accuracy_interval"])),
        ("macro-F1", f"{figures['macro_f1']:.3f}", "{:.3f} to {:.3f}".format(*figures["macro_f1_interval"])),
        (unit, f"{figures[unit]:,}", f"from {over['count']} {over['unit']}s"),
    ]
    if (delay := figures.get("delay_s")) and delay["median"] is not None:
        note = f"95th {delay['p95']:.2f} s; {percent(delay['missed'])} of {delay['changes']} never told"
        tiles.append(("delay to a new label", f"{delay['median']:.2f} s", note))
    if runs := figures.get("runs"):
        tiles.append(("accuracy of whole runs", percent(runs["accuracy"]), percents(runs["accuracy_interval"])))
    return tiles


def _long_tiles(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    own = figures["at_card"]
    tiles = []
    if own["missed"] is not None:
        tiles.append(("missed, as shipped", percent(own["missed"]), percents(own["missed_interval"])))
    rate = "{:.1f} to {:.1f}".format(*own["false_alarms_per_hour_interval"])
    tiles.append(("false alarms an hour", f"{own['false_alarms_per_hour']:.2g}", rate))
    if own["delay_s"]:
        note = f"95th {own['delay_s']['p95']:.2f} s"
        tiles.append(("after an event's end", f"{own['delay_s']['median']:.2f} s", note))
    note = f"{figures['negative_hours']:.2f} without events; {figures['events']:,} events"
    return [*tiles, ("hours heard", f"{figures['hours']:.2f}", note)]


def _told_apart(figures: Mapping[str, Any]) -> list[str]:
    parts = [f"<section><h2>What was taken for what</h2>{_confusion(figures['confusion'])}</section>"]
    unit = unit_of(figures)
    rows = [
        [label, *(f"{of[key]:.3f}" for key in ("precision", "recall", "f1")), f"{of['support']:,}"]
        for label, of in figures["per_label"].items()
    ]
    told = _table(["label", "precision", "recall", "F1", unit], rows)
    parts.append(f"<section><h2>By label</h2>{told}</section>")
    if figures["per_group"]:
        group = {"clips": "speaker", "rows": "subject"}.get(unit, "group")
        plot = plots.groups(figures["per_group"], figures["accuracy"])
        parts.append(f"<section><h2>By {group}</h2><p>Dashed: all of them together.</p>{plot}</section>")
    return parts


def _confusion(confusion: Mapping[str, Any]) -> str:
    """Truth by rows; a cell is as dark as its share of the row."""
    head = "".join(f"<th><span>{escape(label)}</span></th>" for label in confusion["labels"])
    body = []
    for number, (label, row) in enumerate(zip(confusion["labels"], confusion["matrix"], strict=True)):
        total = max(1, sum(row))
        cells = "".join(
            f'<td class="{"right" if column == number else "wrong"}" style="--share:{count / total:.3f}">'
            f"{f'{count:,}' if count else ''}</td>"
            for column, count in enumerate(row)
        )
        body.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    return f"<div class=wide><table class=confusion><tr><th></th>{head}</tr>{''.join(body)}</table></div>"


def _long(figures: Mapping[str, Any]) -> list[str]:
    parts = []
    if figures["events"]:
        parts.append(
            "<section><h2>Misses against false alarms</h2><p>All thresholds moved together, looser to the right. "
            f"Band: 95 %.</p>{plots.curve(figures)}</section>"
        )
    rows = [["as shipped", *point_cells(figures["at_card"])]]
    rows += [[f"at most {of['target']:g} an hour", *point_cells(of)] for of in figures["operating_points"]]
    told = _table(["", "missed", "false alarms", "an hour", "delay, median / 95th"], rows)
    notes = [f"<li>{escape(point['note'])}</li>" for point in figures["operating_points"] if "note" in point]
    noted = f"<ul class=notes>{''.join(notes)}</ul>" if notes else ""
    parts.append(f"<section><h2>At a budget</h2>{told}{noted}</section>")
    by_label = [[label, *point_cells(of)] for label, of in figures["at_card"]["per_label"].items()]
    told = _table(["label", "missed", "false alarms", "an hour", "delay, median / 95th"], by_label)
    parts.append(f"<section><h2>By label, as shipped</h2>{told}</section>")
    return parts


def point_cells(point: Mapping[str, Any]) -> list[str]:
    """What is missed, the alarms, their rate and the delay at one setting; nothing where none keeps to its budget."""
    if "hits" not in point:
        return ["", "", "", ""]
    delay = point["delay_s"]
    missed = "–" if point["missed"] is None else f"{percent(point['missed'])} ({percents(point['missed_interval'])})"
    return [
        missed,
        f"{point['false_alarms']:,}",
        _rate(point),
        f"{delay['median']:.2f} / {delay['p95']:.2f} s" if delay else "–",
    ]


def _soaked(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    key = "accuracy" if "accuracy" in rows[0] else "missed"
    plot = plots.soak(rows, key) if rows[0][key] is not None else ""
    table = _table(*soak_table(rows))
    return [f"<section><h2>The same test after carried state</h2>{plot}{table}</section>"]


def soak_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """A soak's head, and its rows: how long, the figure with its interval, the difference from a fresh start."""
    apart = "accuracy" in rows[0]
    key = "accuracy" if apart else "missed"
    cells = []
    for row in rows:
        known = row[key] is not None
        told = f"{percent(row[key])} ({percents(row[f'{key}_interval'])})" if known else "–"
        difference = _difference(row) if known and row["minutes"] else ""
        minutes = f"{row['minutes']:g} min" if row["minutes"] else "fresh"
        cells.append([minutes, told, difference, *([] if apart else [_rate(row)])])
    return ["state carried for", key, "against fresh", *([] if apart else ["false alarms an hour"])], cells


def _rate(point: Mapping[str, Any]) -> str:
    low, high = point["false_alarms_per_hour_interval"]
    return f"{point['false_alarms_per_hour']:.2f} ({low:.2f} to {high:.2f})"


def _compared(compared: Mapping[str, Any], figures: Mapping[str, Any]) -> list[str]:
    table = _table(["", figures["model"], compared["model"], "difference (95 %)"], comparison_rows(compared))
    return [f"<section><h2>Side by side</h2><p>Paired, on the same data.</p>{table}</section>"]


def comparison_rows(compared: Mapping[str, Any]) -> list[list[str]]:
    """A comparison as rows of: what, one, other, difference with its interval."""
    rows = []
    for name in ("accuracy", "macro_f1"):
        if name in compared:
            of = compared[name]
            rows.append([name.replace("_f1", "-F1"), percent(of["one"]), percent(of["other"]), _difference(of)])
    if bits := compared.get("bits_per_token"):
        rows.append(["bits a token", f"{bits['one']:.3f}", f"{bits['other']:.3f}", f"{bits['difference']:+.3f}"])
    for point in compared.get("points", ()):
        told = "as shipped" if point["target"] is None else f"at most {point['target']:g} an hour"
        if point["events"]:
            rows.append([f"missed, {told}", percent(point["one"]), percent(point["other"]), _difference(point)])
        if point["target"] is None:
            rows.append([f"false alarms, {told}", *(f"{count:,}" for count in point["false_alarms"]), ""])
    return rows


def _difference(of: Mapping[str, Any]) -> str:
    low, high = of["difference_interval"]
    return f"{100 * of['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) points"


def _strips(exhibits: Exhibits) -> list[str]:
    if not exhibits.strips:
        return []
    parts = []
    for strip in exhibits.strips:
        player = "" if strip.sound is None else _player(strip.sound, exhibits.sample_rate)
        parts.append(f"<figure><figcaption>{escape(strip.title)}</figcaption>{plots.timeline(strip)}{player}</figure>")
    return [f"<section><h2>As it was heard</h2>{''.join(parts)}</section>"]


def _mistakes(title: str, lead: str, mistakes: Sequence[Mistake], rate: int) -> list[str]:
    if not mistakes:
        return []
    cards = []
    for mistake in mistakes:
        sound = "" if mistake.sound is None else _wave(mistake.sound) + _player(mistake.sound, rate)
        cards.append(
            f"<div class=mistake><b>{escape(mistake.title)}</b>{sound}<small>{escape(mistake.detail)}</small></div>"
        )
    return [f"<section><h2>{title}</h2><p>{lead}</p><div class=mistakes>{''.join(cards)}</div></section>"]


def _player(sound: Floats, rate: int) -> str:
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, np.clip(sound, -1, 1), rate, format="FLAC", subtype="PCM_16")
    content = base64.b64encode(out.getvalue()).decode()
    return f'<audio controls preload="none" src="data:audio/flac;base64,{content}"></audio>'


def _wave(sound: Floats) -> str:
    """The sound's outline, as loud as it goes."""
    edges = np.linspace(0, len(sound), min(WAVE_COLUMNS, len(sound)), endpoint=False).astype(np.int64)
    heights = np.maximum.reduceat(np.abs(sound), edges) / max(1e-4, float(np.abs(sound).max()))
    bars = "".join(f"M{x} {20 - 19 * h:.1f}V{20 + 19 * h:.1f}" for x, h in enumerate(heights.tolist()))
    return f'<svg class=wave viewBox="-1 0 {WAVE_COLUMNS + 1} 40" preserveAspectRatio="none"><path d="{bars}"/></svg>'


def _footnote(figures: Mapping[str, Any]) -> str:
    long = "Shares: Clopper and Pearson; rates: Garwood. An alarm counts wherever it happens, over all hours heard. "
    apart = "Intervals: percentile bootstrap, drawing whole speakers or subjects where they are known. "
    if "interval_over" in figures and figures["interval_over"]["count"] < FEW:
        apart += f"From fewer than {FEW} of them such intervals are too narrow. "
    kind = long if "curve" in figures else apart
    return f"<footer>{kind}All figures are those of <code>otolith evaluate --json</code>.</footer>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class=wide><table><tr>{top}</tr>{body}</table></div>"


def percent(share: float) -> str:
    """`94.6 %`."""
    return f"{100 * share:.1f} %"


def percents(interval: Sequence[float]) -> str:
    """`91.9 to 96.9 %`."""
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"
