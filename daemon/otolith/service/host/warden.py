"""The warden: what systemd is told of a daemon while it runs.

Ready once frames flow, fed while they do and messages leave. What nobody can expect is not waited for: streams from
the network come and go as others please, text comes when somebody types, and some sensors tell a row an hour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from otolith.service.host.systemd import notify
from otolith.service.listener import Listener
from otolith.wire.messages import LISTENING, StatusMessage

SLOWEST_S = 10.0  # between frames: slower streams are not awaited
PATIENCE_S, PATIENCE_FRAMES = 2.0, 3  # without a frame of any stream, or a word that arrives


class Warden:
    """`pulse`, once a second, sends something the way predictions go, and tells whether what it sent before arrived."""

    def __init__(self, pulse: Callable[[], bool] = lambda: True) -> None:
        self._pulse = pulse
        self.is_ready = False
        self._frames = 0
        self._flowed_s = self._left_s = -math.inf

    def greet(self, awaited: Collection[Listener], streams: int) -> None:
        """Tell that the daemon is ready, where it is: a frame was stepped, or none is awaited."""
        if any(listener.vitals.frames for listener in awaited) or not any(map(_is_awaited, awaited)):
            self.is_ready = True
            notify("READY=1", f"STATUS={_heard_of(streams, 0)}")

    def look(
        self,
        now_s: float,
        frames: int,
        awaited: Collection[Listener],
        told: Collection[StatusMessage],
        degraded: str = "",
    ) -> None:
        """Once a second: feed the watchdog if `frames` of any stream came lately, or none is awaited."""
        if self._pulse() or self._left_s == -math.inf:  # the first word has no time to arrive
            self._left_s = now_s
        if frames > self._frames:
            self._frames, self._flowed_s = frames, now_s
        patience_s = min((_patience_s(listener) for listener in awaited if _is_awaited(listener)), default=math.inf)
        if now_s - self._flowed_s > patience_s:
            why = next((f": {each.stream}: {each.state}" for each in told if each.state != LISTENING), "")
            notify(f"STATUS=nothing is heard{why}")
        elif now_s - self._left_s > PATIENCE_S:
            notify("STATUS=nothing leaves: what was published last has not arrived at our own subscriber")
        elif self.is_ready:
            ill = f"; degraded: {degraded}" if degraded else ""
            streams = max(len(told), len(awaited))  # in the first second, none has told of itself
            notify("WATCHDOG=1", f"STATUS={_heard_of(streams, frames)}{ill}")


def _heard_of(streams: int, frames: int) -> str:
    return f"listening on {streams} stream(s), {frames} frames" if streams else "waiting for streams"


def _is_awaited(listener: Listener) -> bool:
    return listener.frame_period_s <= SLOWEST_S


def _patience_s(listener: Listener) -> float:
    return max(PATIENCE_S, PATIENCE_FRAMES * listener.frame_period_s)
