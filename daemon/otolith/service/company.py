"""Company: who is stepped together, and how long a frame may wait for it.

Engines count samples; here is the clock. Frames wait until every stream has some, or as many streams as one batch takes
have a whole call's, or the first of them has waited `max_delay_ms`. A stream alone waits for nobody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from otolith.inference.card import Trigger
from otolith.inference.engine import Engine, Seat
from otolith.inference.events import Event
from otolith.inference.model import Model
from otolith.settings import EngineSettings


@dataclass(slots=True)
class Party:
    """One engine, and when what waits there must be stepped."""

    engine: Engine
    due_s: float = math.inf


class Company:
    """An engine for each model. Times are seconds of any one clock."""

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self._settings = settings or EngineSettings()
        self._parties: dict[str, Party] = {}  # by the model's digest

    def join(self, model: Model, triggers: Mapping[str, Trigger] | None = None) -> Seat:
        """A seat among the streams of `model`."""
        party = self._parties.get(model.digest)
        if party is None:
            self._parties = {digest: each for digest, each in self._parties.items() if each.engine.streams}
            settings, is_sound = self._settings, model.card.kind == "audio"
            engine = Engine(model, settings.frames_per_step, settings.largest_batch, looks_at_levels=is_sound)
            party = self._parties[model.digest] = Party(engine)
        return party.engine.add(triggers)

    @property
    def due_s(self) -> float:
        """When something must be stepped, whatever else comes; infinity where nothing waits."""
        return min((party.due_s for party in self._parties.values()), default=math.inf)

    @property
    def enough(self) -> int:
        """How many more blocks make it worth to look before that."""
        return max(1, min((self._missing(p.engine) for p in self._parties.values() if p.engine.waiting), default=1))

    def step(self, now_s: float, since_s: float | None = None) -> list[tuple[Seat, list[Event]]]:
        """Step what need not wait any longer; the first of what came last did at `since_s`, or now.

        While one engine's frames wait, nobody looks whether another's begin to: they have waited when they are found.
        """
        came_s = now_s if since_s is None else min(since_s, now_s)
        told: list[tuple[Seat, list[Event]]] = []
        for party in self._parties.values():
            engine = party.engine
            if engine.waiting and party.due_s == math.inf:
                party.due_s = came_s + self._settings.max_delay_ms / 1000
            if engine.waiting == engine.streams or now_s >= party.due_s:
                told += engine.step()
            elif self._missing(engine) <= 0:
                told += engine.step(all_waiting=False)
            if not engine.waiting:
                party.due_s = math.inf
        return told

    def _missing(self, engine: Engine) -> int:
        """How many more streams must be ready for a batch that is worth a step."""
        return min(engine.streams - engine.waiting, self._settings.largest_batch - engine.full)
