"""A virtual environment for each peer, its packages pinned, so that no peer's dependencies touch ours or each other's.

    python bench/venvs.py          # make all of them, below bench/.venvs

Numpy and onnxruntime are the versions that run here, so that what differs is the peer.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent / ".venvs"
NUMPY = f"numpy=={version('numpy')}"
RUNTIME = [NUMPY, f"onnxruntime=={version('onnxruntime')}"]


@dataclass(frozen=True)
class Environment:
    """Packages of a peer; `bare` ones come without what they ask for (torch, TensorFlow Lite), which we do not run."""

    packages: list[str]
    bare: str = ""


ENVIRONMENTS = {
    "earshot": Environment(["earshot==1.2.2", NUMPY]),
    "webrtcvad": Environment(["webrtcvad-wheels==2.0.14.post1"]),
    "microwakeword": Environment(["pymicro-wakeword==2.5.0", "pymicro-features==2.0.2", NUMPY]),
    "silero": Environment(RUNTIME, bare="silero-vad==6.2.3"),
    "openwakeword": Environment([*RUNTIME, "requests", "scikit-learn", "scipy", "tqdm"], bare="openwakeword==0.6.0"),
}


def python_of(peer: str) -> Path:
    """The peer's interpreter; its environment is made where there is none, or anew where the pins have changed.

    Raises `SystemExit` where it cannot be installed, with pip's last line.
    """
    wanted = ENVIRONMENTS[peer]
    folder, python = FOLDER / peer, FOLDER / peer / "bin" / "python"
    stamp, pins = folder / "pins", "\n".join([*wanted.packages, wanted.bare])
    if not stamp.exists() or stamp.read_text("utf-8") != pins:
        print(f"installing {peer} into {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        _install(python, wanted.packages)
        if wanted.bare:
            _install(python, ["--no-deps", wanted.bare])
        stamp.write_text(pins, "utf-8")
    return python


def _install(python: Path, packages: list[str]) -> None:
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *packages]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"pip cannot install {' '.join(packages)}: {done.stderr.strip().splitlines()[-1]}")


if __name__ == "__main__":
    for name in ENVIRONMENTS:
        python_of(name)
