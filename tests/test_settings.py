"""Settings: what a file says becomes what a daemon is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from otolith.errors import SettingsError
from otolith.settings import DEFAULT_INGEST, IngestSettings, Settings, read_settings, route_for, settings_for

TEXT = """
[ingest]
silence_s = 2

[[route]]
pattern = "kitchen-[0-9]"
model = "words.onnx"
resample = false

[[route]]
pattern = "*"
model = "motion.onnx"

[route.detector.WALKING]
threshold = 0.9
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for model in ("words.onnx", "motion.onnx"):
        (tmp_path / model).touch()
    (tmp_path / "otolith.toml").write_text(TEXT)
    return read_settings(tmp_path / "otolith.toml")


@pytest.mark.parametrize("name", ["a" * 300, "a\\u0000b", "a/" * 3000])
def test_a_model_that_no_file_can_be_is_told(tmp_path: Path, name: str) -> None:
    text = f'[[stream]]\nname = "a"\nmodel = "{name}"\nsource = "pipe:"\n'
    (tmp_path / "otolith.toml").write_text(text)
    with pytest.raises(SettingsError, match="does not exist"):
        read_settings(tmp_path / "otolith.toml")


@pytest.mark.parametrize("name", ["..", ".hidden", "kitchen\\n", "a/b", ""])
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "m.onnx").touch()
    text = f'[[stream]]\nname = "{name}"\nmodel = "m.onnx"\nsource = "pipe:"\n'
    (tmp_path / "otolith.toml").write_text(text)
    with pytest.raises(SettingsError, match="name"):
        read_settings(tmp_path / "otolith.toml")


def test_a_stream_takes_the_first_route_that_matches_its_name(settings: Settings, tmp_path: Path) -> None:
    kitchen, pump = route_for(settings, "kitchen-7"), route_for(settings, "kitchen-12")
    assert kitchen is not None
    assert pump is not None
    assert (kitchen.model, kitchen.resample) == (str(tmp_path / "words.onnx"), False)
    assert (pump.model, pump.detector["WALKING"].threshold) == (str(tmp_path / "motion.onnx"), 0.9)


def test_a_name_that_no_route_matches_has_none(settings: Settings) -> None:
    only = Settings(ingest=IngestSettings(), route=settings.route[:1])
    assert route_for(only, "Kitchen-7") is None


def test_what_ingest_leaves_out_is_as_documented(settings: Settings) -> None:
    assert settings.ingest == IngestSettings(silence_s=2)
    assert IngestSettings().bind == [DEFAULT_INGEST]
    assert (IngestSettings().max_streams, IngestSettings().allow) == (1000, [])


def test_a_source_on_the_network_is_an_ingest_with_one_route() -> None:
    settings = settings_for("words.onnx", "udp://127.0.0.1:7313", None, None)
    assert (settings.stream, settings.ingest) == ([], IngestSettings(bind=["udp://127.0.0.1:7313"]))
    assert [(route.pattern, route.model) for route in settings.route] == [("*", "words.onnx")]
    named = settings_for("words.onnx", "zmq+ipc:///run/in.sock", None, "kitchen")
    assert route_for(named, "cellar") is None


def test_a_pipe_has_no_place_among_workers(tmp_path: Path) -> None:
    (tmp_path / "words.onnx").touch()
    path = tmp_path / "otolith.toml"
    path.write_text('workers = 2\n[[stream]]\nname = "kitchen"\nmodel = "words.onnx"\nsource = "pipe:"\n')
    with pytest.raises(SettingsError, match=r'stream "kitchen": workers = 2.*set workers = 1'):
        read_settings(path)
    path.write_text(path.read_text().replace("pipe:", "microphone:"))
    assert read_settings(path).workers == 2
    path.write_text(path.read_text().replace("workers = 2", "workers = 0"))
    with pytest.raises(SettingsError, match="workers"):
        read_settings(path)
