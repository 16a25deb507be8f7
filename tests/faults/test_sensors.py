"""Faults of sensors' own ways: a board that is unplugged, a broker that dies, writers of a FIFO that break off."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from otolith.wire.messages import GapMessage, PosteriorsMessage, StatusMessage
from tests.faults.house import wait_for
from tests.faults.oracle import Witness
from tests.processes import DaemonProcess
from tests.sources.board import Board
from tests.sources.live import PROMPT_S

pytest.importorskip("serial", reason="needs pyserial: pip install 'otolith[serial]'")
pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt: pip install 'otolith[mqtt]'")

from tests.sources.mosquitto import Broker, missing_parts

pytestmark = pytest.mark.skipif(missing_parts() is not None, reason=str(missing_parts()))

HEADER = "t,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z\n"
HOPS = {"room": 320, "board": 1, "topic": 1}


class Sensors:
    """A daemon that listens to a FIFO, a board and a topic, and all that was sent to them: in samples and rows."""

    def __init__(self, folder: Path, audio: Path, sensor: Path, broker: Broker) -> None:
        self.fifo, self.board, self.broker = folder / "fifo", Board(folder / "board"), broker
        os.mkfifo(self.fifo)
        self.sent = dict.fromkeys(HOPS, 0)
        sources = {
            "room": (audio, f"pipe:{self.fifo}"),
            "board": (sensor, f"serial:{self.board.path}"),
            "topic": (sensor, f"mqtt://127.0.0.1:{broker.port}/imu"),
        }
        self.settings = folder / "otolith.toml"
        self.endpoint = f"ipc://{folder}/publish"
        self.settings.write_text(
            f'publish = "{self.endpoint}"\ncontrol = false\n'
            + "".join(
                f'[[stream]]\nname = "{name}"\nmodel = "{model}"\nsource = "{source}"\nposteriors_per_s = 100\n'
                for name, (model, source) in sources.items()
            )
        )

    def rows(self, name: str, count: int) -> str:
        """The next rows, which count as sent wherever they go."""
        first = self.sent[name]
        self.sent[name] += count
        return "".join(f"{number / 100},1,2,3,4,5,6\n" for number in range(first, first + count))

    def told(self, witness: Witness, name: str) -> int:
        """Samples behind predictions, and in gaps."""
        mine = [message for message in witness.messages if message.stream == name]
        predicted = sum(message.frames for message in mine if isinstance(message, PosteriorsMessage)) * HOPS[name]
        return predicted + sum(message.lost for message in mine if isinstance(message, GapMessage))

    def settle(self, witness: Witness) -> None:
        """Until all that was sent is predicted or declared, and no more than that."""
        wait_for(lambda: {name: self.told(witness, name) for name in HOPS} == self.sent)

    def writer_breaks_off(self, rng: random.Random) -> tuple[str, str]:
        whole, half = rng.randrange(5000), rng.randrange(2)
        with self.fifo.open("wb", buffering=0) as fifo:
            fifo.write(np.full(whole, 77, "<i2").tobytes() + bytes(half))
        self.sent["room"] += whole + half
        return "room", "its writer is gone"

    def board_is_unplugged(self, rng: random.Random) -> tuple[str, str]:
        self.board.send(self.rows("board", 50))
        self.board.unplug()
        self.rows("board", rng.randrange(500))
        return "board", "the line dropped"

    def broker_dies(self, rng: random.Random) -> tuple[str, str]:
        self.broker.publish("imu", HEADER + self.rows("topic", 50))
        self.broker.stop()
        self.rows("topic", rng.randrange(500))
        return "topic", "the connection was lost"

    def mend(self, witness: Witness, name: str) -> None:
        """What was harmed goes on; whoever sends does not know when he is heard again."""
        heard = len([m for m in witness.messages if m.stream == name and isinstance(m, PosteriorsMessage)])
        if name == "board":
            self.board.plug_in()
        elif name == "topic":
            self.broker.start()

        def is_heard() -> bool:
            if name == "board":
                self.board.send(self.rows("board", 5))
            elif name == "topic":
                self.broker.publish("imu", HEADER + self.rows("topic", 5))
            return len([m for m in witness.messages if m.stream == name and isinstance(m, PosteriorsMessage)]) > heard

        if name != "room":
            wait_for(is_heard)


@pytest.fixture
def sensors(tmp_path: Path, tiny_audio_file: Path, tiny_sensor_file: Path) -> Iterator[Sensors]:
    broker = Broker(tmp_path, "allow_anonymous true")
    yield Sensors(tmp_path, tiny_audio_file, tiny_sensor_file, broker)
    broker.stop()


def statuses(witness: Witness, name: str) -> list[StatusMessage]:
    return [message for message in witness.messages if message.stream == name and isinstance(message, StatusMessage)]


def test_through_drawn_faults_every_sample_and_row_is_predicted_or_declared_once(
    sensors: Sensors, is_full: bool
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    kinds: list[Callable[[random.Random], tuple[str, str]]]
    kinds = [sensors.writer_breaks_off, sensors.board_is_unplugged, sensors.broker_dies]
    with Witness(sensors.endpoint) as witness, DaemonProcess(str(sensors.settings)):
        wait_for(lambda: {message.stream for message in witness.messages} >= HOPS.keys())
        sensors.board.send(HEADER + sensors.rows("board", 30))
        sensors.broker.publish("imu", HEADER + sensors.rows("topic", 30))
        sensors.settle(witness)
        for kind in rng.choices(kinds, k=60) if is_full else rng.sample(kinds * 2, k=6):
            seen = len(witness.messages)
            name, reason = kind(rng)
            harmed_s = time.monotonic()
            others = {other: sensors.told(witness, other) for other in HOPS if other != name}
            wait_for(lambda seen=seen, reason=reason: any(
                isinstance(message, GapMessage) and reason in message.reason for message in witness.messages[seen:]
            ))  # fmt: skip
            assert time.monotonic() - harmed_s < PROMPT_S
            sensors.mend(witness, name)
            sensors.settle(witness)
            assert {other: sensors.told(witness, other) for other in others} == others


def test_a_writer_that_falls_silent_is_stalled_in_the_status_and_loses_nothing(sensors: Sensors) -> None:
    with Witness(sensors.endpoint) as witness, DaemonProcess(str(sensors.settings)):
        wait_for(lambda: bool(statuses(witness, "room")))
        with sensors.fifo.open("wb", buffering=0) as fifo:
            fifo.write(bytes(6400))
            wait_for(lambda: statuses(witness, "room")[-1].state == f"pipe:{sensors.fifo}: stalled")
            fifo.write(bytes(6400))
            wait_for(lambda: statuses(witness, "room")[-1].state == "listening")
            wait_for(lambda: statuses(witness, "room")[-1].frames == 20)
        assert statuses(witness, "room")[-1].lost == 0
