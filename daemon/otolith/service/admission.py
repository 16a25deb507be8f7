"""Admission: may a stream from the network open, and if not, what is its producer told?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from otolith.errors import SettingsError
from otolith.inference.card import Card
from otolith.service.listener import check_rate
from otolith.settings import Settings, route_for
from otolith.sources.network.roster import Admit, Opened


def admission(now: Callable[[], tuple[Settings, Mapping[str, Card]]]) -> Admit:
    """The settings' routes as a question to put to a stream.

    `now` tells the settings as they hold, and the cards of their models by path.
    """

    def admit(opened: Opened) -> str:
        settings, cards = now()
        name = opened.stream
        if any(name == stream.name for stream in settings.stream):
            return f"stream {name!r} is one that the daemon opens itself; choose another name"
        route = route_for(settings, name)
        if route is None:
            patterns = ", ".join(route.pattern for route in settings.route)
            return f"no route takes {name!r}; there are routes for {patterns}"
        return _unserved(opened, cards[route.model], route.resample)

    return admit


def _unserved(opened: Opened, card: Card, resample: bool) -> str:
    """Why a model cannot serve a stream, or nothing."""
    if opened.kind != card.kind:
        return f"{opened.stream!r} sends {opened.kind}, its model {card.name} takes {card.kind}; mend the route"
    if card.kind == "sensor" and opened.channels != len(card.channels):
        names = ", ".join(channel.name for channel in card.channels)
        return f"{opened.stream!r} sends {opened.channels} channel(s), its model {card.name} takes {names}"
    try:
        check_rate(card, opened.rate, resample, repr(opened.stream))
    except SettingsError as error:
        return str(error)
    return ""
