"""Admission: who has no way, or no model that fits, is told so before anything is opened for it."""

from __future__ import annotations

import pytest

from otolith.inference.model import Model
from otolith.service.admission import admission
from otolith.settings import IngestSettings, RouteSettings, Settings, StreamSettings
from otolith.sources.network.roster import Admit, Opened


@pytest.fixture
def admit(tiny_audio: Model, tiny_sensor: Model) -> Admit:
    routes = [
        RouteSettings(pattern="kitchen-*", model="audio"),
        RouteSettings(pattern="studio", model="audio", resample=False),
        RouteSettings(pattern="pump-*", model="sensor"),
    ]
    own = [StreamSettings(name="kitchen-0", model="audio", source="microphone:")]
    settings = Settings(stream=own, ingest=IngestSettings(), route=routes)
    return admission(lambda: (settings, {"audio": tiny_audio.card, "sensor": tiny_sensor.card}))


@pytest.mark.parametrize(
    "opened",
    [
        Opened("kitchen-1", "audio", 16000, 1),
        Opened("kitchen-1", "audio", 48000, 2),
        Opened("studio", "audio", 16000, 1),
        Opened("pump-1", "sensor", 104.3, 6),
    ],
)
def test_a_stream_that_its_model_can_serve_is_admitted(admit: Admit, opened: Opened) -> None:
    assert admit(opened) == ""


@pytest.mark.parametrize(
    ("opened", "why"),
    [
        (Opened("cellar", "audio", 16000, 1), "there are routes for kitchen-*, studio, pump-*"),
        (Opened("kitchen-0", "audio", 16000, 1), "opens itself"),
        (Opened("kitchen-1", "sensor", 100, 6), "sends sensor, its model tiny-audio takes audio"),
        (Opened("pump-1", "sensor", 100, 3), "takes acc_x, acc_y, acc_z"),
        (Opened("pump-1", "sensor", 50, 6), "expects rows at 100 Hz"),
        (Opened("studio", "audio", 44100, 1), "resample is off"),
    ],
)
def test_a_stream_that_cannot_be_served_is_told_why(admit: Admit, opened: Opened, why: str) -> None:
    assert why in admit(opened)
