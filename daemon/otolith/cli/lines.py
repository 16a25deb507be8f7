"""One message as one line for a reader."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from otolith.wire.messages import (
    LISTENING,
    AnomalyMessage,
    DetectionMessage,
    ForecastMessage,
    GapMessage,
    Message,
    PosteriorsMessage,
    StatusMessage,
)

if TYPE_CHECKING:  # a subscriber needs no onnxruntime
    from otolith.inference.model import Model


def lines_for_model(model: Model) -> list[str]:
    """What a model promises, a line each."""
    card = model.card
    rate = f"{card.sample_rate:g} Hz, {card.frame_rate:g} frames a second"
    channels = ", ".join(f"{channel.name} ({channel.unit})" for channel in card.channels)
    return [
        f"{model.identity}: {card.kind}, {card.task}",
        f"takes {channels} at {rate}",
        f"tells {_told(model)}" + (f" (background: {card.background})" if card.background else ""),
        *(f"learned from {data.name}, {data.licence}: {data.attribution}" for data in card.data),
        f"made {card.made.time} with {', '.join(f'{name} {version}' for name, version in card.made.versions.items())}",
    ]


def _told(model: Model) -> str:
    card = model.card
    if card.output != "forecast":
        return ", ".join(card.labels)
    return f"the {card.output_shape[0]} rows that follow" + (" and anomalies" if card.anomaly else "")


def line_for(message: Message, time_s: float | None = None) -> str:
    """`14:03:07.120 kitchen  yes start 0.97 ...`, or with seconds into a recording in place of the clock."""
    if time_s is None:
        moment = datetime.fromtimestamp(message.time_ns / 1e9).astimezone().strftime("%H:%M:%S.%f")[:-3]
    else:
        moment = f"{time_s:9.3f} s"
    return f"{moment}  {message.stream:<12} {_content(message)}"


def _content(message: Message) -> str:
    match message:
        case DetectionMessage():
            late = f"{message.latency_ms:.0f} ms after its onset"
            return f"{message.label} {message.phase}  confidence {message.confidence:.2f}, {late}"
        case AnomalyMessage():
            late = f"{message.latency_ms:.0f} ms after its onset"
            return f"anomaly {message.phase}  score {message.score:.2f}, {late}"
        case ForecastMessage():
            ahead = message.array()[-1]
            told = ", ".join(f"{name} {value:.4g}" for name, value in zip(message.channels, ahead[0], strict=True))
            return f"forecast: next {told}, {message.horizon} rows ahead in all ({message.frames} frames)"
        case GapMessage():
            return f"gap: {message.lost} lost ({message.reason})"
        case PosteriorsMessage():
            row = message.array()[-1]
            best = int(row.argmax())
            return f"posteriors: {message.labels[best]} {row[best]:.2f} ({message.frames} frames)"
        case StatusMessage():
            level = "" if message.level_dbfs is None else f", level {message.level_dbfs:.0f} dBFS"
            if message.state != LISTENING:
                level = f"; {message.state}"
            elif message.flat_s > 1:
                level += f", nothing but one value for {message.flat_s} s"
            if message.degraded:
                level += f"; degraded: {message.degraded}"
            if message.clipped_s:
                level += f", clipped in {message.clipped_s} s"
            if message.refused:  # neither empty nor absent
                level += f"; refused: {', '.join(f'{count} {why}' for why, count in message.refused.items())}"
            if isinstance(message.streams, int):
                level = f", {message.streams} streams{level}"
            return (
                f"status: {message.frames} frames, {message.gaps} gaps, {message.lost} lost, {message.drops} drops, "
                f"{100 * message.real_time_factor:.2f} % of real time, up {message.uptime_s:.0f} s{level}"
            )
    return ""
