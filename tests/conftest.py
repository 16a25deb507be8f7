"""What tests share: small real models, real sound, sockets on free paths, and the rule on skipping."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from otolith.inference.model import Model
from otolith.recordings import load_audio
from tests.tiny import write_tiny

ROOT = Path(__file__).parent.parent
SOUND = ROOT / "examples" / "demo" / "words.flac"
UNAVOIDABLE = "beyond what CI can mend: "  # how the reason of a skip begins that no package mends


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-full", action="store_true", help="faults as often and as long as docs/faults.md records")
    parser.addoption("--faults-seed", type=int, default=0, help="of the random mix of faults; 0: another each time")


@pytest.fixture(scope="session", autouse=True)
def cache_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Tests leave nothing in the user's cache, and find nothing there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_audio_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models") / "tiny.onnx", "audio")


@pytest.fixture(scope="session")
def tiny_sensor_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models") / "tiny-sensor.onnx", "sensor")


@pytest.fixture(scope="session")
def tiny_audio(tiny_audio_file: Path) -> Model:
    return Model.open(tiny_audio_file)


@pytest.fixture(scope="session")
def tiny_sensor(tiny_sensor_file: Path) -> Model:
    return Model.open(tiny_sensor_file)


@pytest.fixture(scope="session")
def tiny_token(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.open(write_tiny(tmp_path_factory.mktemp("models") / "tiny-token.onnx", "token"))


@pytest.fixture(scope="session")
def words() -> Model:
    return Model.open(ROOT / "exported_models" / "words.onnx")


@pytest.fixture(scope="session")
def sound() -> NDArray[np.float32]:
    """Ten seconds of real words over real noise, at 16 kHz."""
    return load_audio(SOUND, 16000)[: 10 * 16000]


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/publish.sock"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip for want of a system part is a failure in CI: there, everything must be installed."""
    report = yield
    is_expected = hasattr(report, "wasxfail") or UNAVOIDABLE in str(report.longrepr)
    if report.skipped and not is_expected and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {report.longrepr}"
    return report
