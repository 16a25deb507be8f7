"""A real sound server with a virtual loudspeaker whose monitor is the microphone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

CONFIGURATION = """
load-module module-native-protocol-unix auth-anonymous=1 socket={folder}/pulse.sock
load-module module-null-sink sink_name=speaker rate=16000 channels=1 format=s16le channel_map=mono norewinds=1
set-default-sink speaker
set-default-source speaker.monitor
"""


def missing_parts() -> str | None:
    """What PulseAudio tests lack on this machine, if anything."""
    programs = [name for name in ("pulseaudio", "paplay", "pactl") if shutil.which(name) is None]
    if programs:
        return f"needs {', '.join(programs)}: apt-get install pulseaudio pulseaudio-utils libasound2-plugins"
    try:
        import sounddevice  # noqa: F401
    except OSError:
        return "needs PortAudio: apt-get install libportaudio2"
    return None


class PulseServer:
    """`pulseaudio` in a folder of its own; `environment` is what its clients need."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_SERVER": f"unix:{folder}/pulse.sock",
        }
        (folder / "pulse.pa").write_text(CONFIGURATION.format(folder=folder))
        self.start()

    def start(self) -> None:
        options = ["--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes", "--use-pid-file=no"]
        self._process = subprocess.Popen(
            ["pulseaudio", "-n", "-F", f"{self._folder}/pulse.pa", *options],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while subprocess.run(["pactl", "info"], env=self.environment, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError("pulseaudio did not start")
            time.sleep(0.05)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stopped in its tracks: it holds its connections and answers nobody."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._process.send_signal(signal.SIGCONT)

    def play(self, path: Path) -> None:
        subprocess.run(["paplay", str(path)], env=self.environment, check=True)
