"""A real broker on a free port of loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


def missing_parts() -> str | None:
    """What tests of a broker lack on this machine, if anything."""
    return None if program("mosquitto") else "needs mosquitto: apt-get install mosquitto"


def program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=FOLDERS)


class Broker:
    """`mosquitto` with some more lines of configuration."""

    def __init__(self, folder: Path, *lines: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._configuration = folder / "mosquitto.conf"
        text = (f"listener {self.port} 127.0.0.1", "user root", "persistence false", *lines)
        self._configuration.write_text("\n".join(text) + "\n")
        self.start()

    def start(self) -> None:
        command = [program("mosquitto") or "mosquitto", "-c", str(self._configuration)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 10
        while not self._is_there():
            assert time.monotonic() < deadline_s, "mosquitto did not start"
            time.sleep(0.02)

    def _is_there(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def publish(self, topic: str, *payloads: str | bytes, retain: bool = False) -> None:
        """As a client of its own, which waits until the broker has taken them."""
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        for payload in payloads:
            client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)
        client.disconnect()
        client.loop_stop()
