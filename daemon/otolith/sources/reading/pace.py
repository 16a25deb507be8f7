"""The pace: how fast a sensor's rows really come, held against what its model was made for."""

from __future__ import annotations

import logging

from otolith.sources.source import Block

MEASURED_S = 10.0
# Sensors run a little off their nominal rate (102.5 and 104.3 Hz for "100 Hz"); rows are fed by count within this.
TOLERANCE = 0.2

log = logging.getLogger(__name__)


class Pacemaker:
    """Says in the log, once until that changes, that rows come at another rate than `rate`.

    Told over ten seconds, rows that were lost among them; by our own clock, since the sensor's may be as wrong as its
    pace.
    """

    def __init__(self, name: str, rate: float) -> None:
        self._name, self._rate = name, rate
        self._since_s: float | None = None
        self._rows = 0
        self._is_told = False

    def push(self, block: Block, now_s: float) -> None:
        """A block has come at `now_s`."""
        if self._since_s is None or (block.reason and not block.lost):  # behind a break of which no length is known
            self._since_s, self._rows = now_s, 0  # rows that came at once with the first are not counted
            return
        self._rows += len(block.samples) + block.lost
        passed_s = now_s - self._since_s
        if passed_s < max(MEASURED_S, MEASURED_S / self._rate if self._rate else 0.0):
            return
        measured = self._rows / passed_s
        self._since_s, self._rows = now_s, 0
        is_off = bool(self._rate) and abs(measured / self._rate - 1) > TOLERANCE
        if is_off and not self._is_told:
            log.warning(
                "%s: rows come at %.4g Hz, the model was made for %.4g Hz; set the sensor to that, or train a model "
                "for its rate",
                self._name,
                measured,
                self._rate,
                extra={"event": "rate"},
            )
        elif self._is_told and not is_off:
            log.info("%s: rows come at %.4g Hz, as the model wants them", self._name, measured, extra={"event": "rate"})
        self._is_told = is_off
