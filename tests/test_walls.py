"""The floors: every import runs down, and the daemon's process carries nothing that it does not need."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "librosa", "scipy", "sklearn", "onnx", "pyarrow", "matplotlib", "prometheus_client")

# From the top; a room may import rooms of later lines, and its own line only where one file may know another.
FLOORS = [
    {"cli"},
    {"service"},
    {"sources", "sinks"},
    {"wire"},
    {"inference", "recordings", "settings", "trial"},
    {"errors"},
]


def imported_names(path: Path) -> set[str]:
    """Every module a file imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def daemon_files() -> list[Path]:
    return sorted((ROOT / "daemon" / "otolith").rglob("*.py"))


@pytest.mark.parametrize("path", daemon_files(), ids=lambda path: str(path.relative_to(ROOT / "daemon")))
def test_every_import_runs_down(path: Path) -> None:
    room = path.relative_to(ROOT / "daemon" / "otolith").parts[0].removesuffix(".py")
    floor = next((number for number, rooms in enumerate(FLOORS) if room in rooms), -1)
    if floor < 0:
        return  # __init__ and __main__ only open doors
    for name in imported_names(path):
        if name.startswith("otolith.") and (target := name.split(".")[1]) != room:
            below = next(number for number, rooms in enumerate(FLOORS) if target in rooms)
            assert below > floor or {room, target} <= FLOORS[floor] - {"sources", "sinks"}, f"{path} imports {name}"


def test_no_imports_run_in_a_circle() -> None:
    files = {".".join(path.relative_to(ROOT / "daemon").with_suffix("").parts): path for path in daemon_files()}
    order = TopologicalSorter({name: imported_names(path) & files.keys() for name, path in files.items()})
    assert set(order.static_order()) == files.keys()  # raises CycleError where there is no order


def test_the_quiet_middle_knows_no_device_socket_thread_or_clock() -> None:
    noisy = {"zmq", "click", "sounddevice", "socket", "threading", "time", "logging", "rich", "soundfile"}
    for path in (ROOT / "daemon" / "otolith" / "inference").rglob("*.py"):
        assert not {name.split(".")[0] for name in imported_names(path)} & noisy, path


def test_only_one_place_in_the_daemon_knows_the_trainer() -> None:
    knowing = [path.name for path in daemon_files() if "otolith_training" in path.read_text("utf-8")]
    assert knowing == ["main.py"]


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import otolith.cli.main as m; m.otolith.list_commands(None)", (*HEAVY, "numpy", "zmq", "onnxruntime")),
        ("import otolith.service.assemble, otolith.cli.run, otolith.cli.infer", (*HEAVY, "paho", "serial")),
        ("import otolith.service.workers.workers, otolith.cli.run", (*HEAVY, "onnxruntime", "soundfile", "soxr")),
        ("from otolith import Producer", (*HEAVY, "onnxruntime", "soundfile", "click")),
        ("from otolith import Subscriber", (*HEAVY, "onnxruntime", "soundfile", "click")),
    ],
)
def test_imports_stay_light(code: str, absent: tuple[str, ...]) -> None:
    check = f"{code}\nimport sys\nprint([name for name in {absent!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_telemetry_is_off_before_the_runtime_is_imported() -> None:
    source = (ROOT / "daemon" / "otolith" / "inference" / "runtime.py").read_text("utf-8")
    assert source.index('os.environ["ORT_DISABLE_TELEMETRY"] = "1"') < source.index("import onnxruntime")
    importing = [path.name for path in daemon_files() if "onnxruntime" in imported_names(path)]
    assert importing == ["runtime.py"]


def test_every_zeromq_socket_bounds_what_it_takes() -> None:
    for path in daemon_files():
        source = path.read_text("utf-8")
        made = len(re.findall(r"\.socket\(zmq\.(?!PUSH)", source))  # a PUSH takes nothing
        bounded = source.count("zmq.MAXMSGSIZE")
        assert bounded >= made or path.name == "echo.py", path  # it hears our own publisher
