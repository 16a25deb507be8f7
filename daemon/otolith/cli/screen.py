"""The live screen: for each stream a bar a label, and what was heard, as it comes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from otolith.wire.messages import (
    LISTENING,
    AnomalyMessage,
    DetectionMessage,
    GapMessage,
    Message,
    PosteriorsMessage,
    StatusMessage,
)

BAR_WIDTH = 24
EIGHTHS = " ▏▎▍▌▋▊▉"
HEARD_LINES = 14
FALL = 0.6  # how much of a bar stays at the next message: a word lasts a blink, a reader's eye does not


@dataclass(slots=True)
class StreamView:
    """What the screen knows of one stream."""

    model: str = ""
    labels: list[str] = field(default_factory=list)
    levels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    active: set[str] = field(default_factory=set)
    heard: deque[Text] = field(default_factory=lambda: deque(maxlen=HEARD_LINES))
    status: StatusMessage | None = None


class Screen:
    """Takes messages, renders streams side by side with their detections. Hand it to `rich.live.Live`."""

    def __init__(self) -> None:
        self._streams: dict[str, StreamView] = {}
        self.missed = 0

    def take(self, message: Message) -> None:
        """Note one message."""
        if message.stream.startswith("@"):  # the daemon itself, which has no labels to show
            return
        view = self._streams.setdefault(message.stream, StreamView())
        view.model = message.model
        match message:
            case PosteriorsMessage():
                peaks = message.array().max(axis=0)  # (labels,)
                if view.labels != message.labels:
                    view.labels, view.levels = message.labels, np.zeros(len(peaks), np.float32)
                view.levels = np.maximum(peaks, view.levels * FALL)
            case DetectionMessage(phase="start"):
                view.active.add(message.label)
                view.heard.append(_heard(message))
            case DetectionMessage():
                view.active.discard(message.label)
            case AnomalyMessage():
                told = f"{_clock(message.time_ns)}  anomaly {message.phase}  score {message.score:.2f}"
                view.heard.append(Text(told, "yellow" if message.phase == "start" else "dim"))
            case GapMessage():
                view.heard.append(
                    Text(f"{_clock(message.time_ns)}  gap: {message.lost} lost ({message.reason})", "red")
                )
            case StatusMessage():
                view.status = message

    def __rich__(self) -> RenderableType:
        if not self._streams:
            return Text("waiting for a daemon ...", "dim")
        panels: list[RenderableType] = [_panel(name, view) for name, view in sorted(self._streams.items())]
        if self.missed:
            panels.append(Text(f"{self.missed} messages missed", "red"))
        return Group(*panels)


def _panel(name: str, view: StreamView) -> Panel:
    grid = Table.grid(padding=(0, 3))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    heard = Text("\n").join([Text("heard: how surely, after its onset", "dim"), *view.heard])
    grid.add_row(_bars(view), heard)
    return Panel(
        grid, title=f"[bold]{name}[/]  [dim]{view.model}[/]", subtitle=_status(view.status), title_align="left"
    )


def _bars(view: StreamView) -> Table:
    table = Table.grid(padding=(0, 1))
    for label, level in zip(view.labels, view.levels.tolist(), strict=True):
        style = "bold green" if label in view.active else "cyan" if not label.startswith("_") else "dim"
        eighths = round(level * BAR_WIDTH * 8)
        bar = "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
        table.add_row(Text(label, style), Text(bar.ljust(BAR_WIDTH), style), Text(f"{level:4.2f}", "dim"))
    return table


def _heard(message: DetectionMessage) -> Text:
    return Text.assemble(
        (f"{_clock(message.onset_ns)}  ", "dim"),
        (f"{message.label:<13}", "bold green"),
        (f"{message.confidence:4.2f}  +{message.latency_ms:.0f} ms", "dim"),
    )


def _status(status: StatusMessage | None) -> str:
    if status is None:
        return ""
    if status.state != LISTENING:
        return f"[bold red]{escape(status.state)}[/]"
    level = "" if status.level_dbfs is None else f"{status.level_dbfs:.0f} dBFS · "
    return (
        f"[dim]{level}{100 * status.real_time_factor:.1f} % of real time · {status.frames} frames · "
        f"{status.gaps} gaps · up {status.uptime_s:.0f} s[/]"
    )


def _clock(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9).astimezone().strftime("%H:%M:%S.%f")[:-4]
