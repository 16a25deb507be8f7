"""Rows from a real MQTT broker: it goes and comes, and what it sends is bounded."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from otolith.errors import SettingsError, SourceError, UsageError
from otolith.inference.model import Model
from otolith.sources import returning
from otolith.sources.open import open_source
from otolith.sources.reading.rows import NOT_A_NUMBER
from otolith.sources.source import Source, Spec
from tests.sources.live import PROMPT_S, Reading

pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt: pip install 'otolith[mqtt]'")

from tests.sources.mosquitto import Broker, missing_parts

pytestmark = pytest.mark.skipif(missing_parts() is not None, reason=str(missing_parts()))

VALUES = "1,2,3,4,5,6"
NAMES = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(returning, "LONGEST_WAIT_S", 0.2)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path, "allow_anonymous true")
    yield broker
    broker.stop()


def opened(broker: Broker, model: Model, options: str = "", *, waits: bool = False) -> Source:
    return open_source(Spec.parse(f"mqtt://127.0.0.1:{broker.port}/pump/imu{options}"), model.card, waits=waits)


def publish_until_heard(broker: Broker, reading: Reading) -> None:
    heard, deadline_s = reading.heard, time.monotonic() + 20
    while reading.heard == heard:
        assert time.monotonic() < deadline_s
        broker.publish("pump/imu", VALUES)
        time.sleep(0.05)


def test_rows_come_as_csv_and_json_one_or_many_in_a_message(broker: Broker, tiny_sensor: Model) -> None:
    broker.publish("pump/imu", VALUES, retain=True)  # of some earlier time
    with Reading(opened(broker, tiny_sensor)) as reading:
        broker.publish("pump/imu", VALUES, f"{VALUES}\r\n{VALUES}\n", f"{','.join(NAMES)}\n{VALUES}")
        broker.publish("pump/imu", f"[{VALUES}]", f"[[{VALUES}],\n [{VALUES}]]")
        objects = ", ".join(f'"{name}": {number}' for number, name in enumerate(NAMES, start=1))
        broker.publish("pump/imu", f"{{{objects}}}", f"[{{{objects}}}]", f"{{{objects}}}\n{{{objects}}}")
        reading.until(lambda so_far: so_far.heard == 11)
    np.testing.assert_array_equal(reading.rows, [[1, 2, 3, 4, 5, 6]] * 11)
    assert reading.lost == 0


def test_what_is_no_row_is_one_lost(broker: Broker, tiny_sensor: Model) -> None:
    with Reading(opened(broker, tiny_sensor)) as reading:
        broker.publish(
            "pump/imu", f"[[{VALUES}], [1, 2, null, 4, 5, 6], [{VALUES}]]", os.urandom(999), "[" * 60_000, ""
        )
        broker.publish("pump/imu", VALUES)
        reading.until(lambda so_far: so_far.heard == 3)
    assert NOT_A_NUMBER in reading.reasons
    assert reading.lost >= 3


def test_a_broker_that_dies_is_told_of_and_found_again(broker: Broker, tiny_sensor: Model) -> None:
    with Reading(opened(broker, tiny_sensor)) as reading:
        for _ in range(3):
            publish_until_heard(broker, reading)
            told, stopped_s = len(reading.blocks), time.monotonic()
            broker.stop()
            reading.until(lambda so_far, told=told: any("was lost" in b.reason for b in so_far.blocks[told:]))
            assert reading.times_s[-1] - stopped_s < PROMPT_S
            broker.start()
        publish_until_heard(broker, reading)
        passed = 100 * (time.monotonic() - reading.times_s[0])
    assert 0.2 * passed < reading.lost < passed  # by time and rate: nothing else tells


def test_rows_with_times_tell_exactly_what_a_dead_broker_kept_from_us(broker: Broker, tiny_sensor: Model) -> None:
    def rows(first: int) -> list[str]:
        return [f'[{{"t": {n / 100}, {fields}}}]' for n in range(first, first + 10)]

    fields = ", ".join(f'"{name}": 0' for name in NAMES)
    with Reading(opened(broker, tiny_sensor)) as reading:
        broker.publish("pump/imu", *rows(0))
        reading.until(lambda so_far: so_far.heard == 10)
        broker.stop()
        reading.until(lambda so_far: bool(so_far.reasons))
        broker.start()
        first = 500
        while reading.heard == 10:
            broker.publish("pump/imu", *rows(first := first + 10))
        reading.until(lambda so_far: so_far.heard + so_far.lost == first + 10)


def test_a_message_too_long_ends_the_connection_and_not_the_memory(broker: Broker, tiny_sensor: Model) -> None:
    with Reading(opened(broker, tiny_sensor)) as reading:
        broker.publish("pump/imu", b"1" * 3_000_000)
        reading.until(lambda so_far: any("a message is over 1048576 bytes" in reason for reason in so_far.reasons))
        publish_until_heard(broker, reading)


def test_a_broker_that_is_away_at_first_holds_nobody_up_and_is_waited_for(tmp_path: Path, tiny_sensor: Model) -> None:
    broker = Broker(tmp_path, "allow_anonymous true")
    broker.stop()
    with Reading(opened(broker, tiny_sensor, waits=True)) as reading:
        reading.until(lambda so_far: any("cannot be reached" in reason for reason in so_far.reasons))
        broker.start()
        publish_until_heard(broker, reading)
    broker.stop()


def test_a_silent_topic_is_stalled(broker: Broker, tiny_sensor: Model) -> None:
    with Reading(opened(broker, tiny_sensor)) as reading:
        broker.publish("pump/imu", VALUES)
        reading.until(lambda so_far: bool(so_far.reasons))
    assert reading.reasons == [f"mqtt://127.0.0.1:{broker.port}/pump/imu: stalled"]


def test_a_login_comes_from_a_file_that_nobody_else_may_read(
    tmp_path: Path, tiny_sensor: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords, login = tmp_path / "passwords", tmp_path / "login"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "otolith", "a secret"], check=True)
    login.write_text("otolith\na secret\n")
    login.chmod(0o600)
    broker = Broker(tmp_path, f"password_file {passwords}")
    try:
        Reading(opened(broker, tiny_sensor, f"?login={login}")).__exit__(None, None, None)
        login.chmod(0o440)  # as of a credential, whose group bits are those of an access list
        with monkeypatch.context() as patch:
            patch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
            Reading(opened(broker, tiny_sensor, "?login=login")).__exit__(None, None, None)
        with pytest.raises(SourceError, match="the broker refuses us"):
            opened(broker, tiny_sensor)
        with pytest.raises(SettingsError, match="others may read this login"):
            opened(broker, tiny_sensor, f"?login={login}")
    finally:
        broker.stop()


def test_over_tls_it_trusts_whom_it_is_told_to(tmp_path: Path, tiny_sensor: Model) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with_tls = ("allow_anonymous true", f"certfile {certificate}", f"keyfile {key}")
    broker = Broker(tmp_path, *with_tls)
    try:
        spec = f"mqtts://localhost:{broker.port}/pump/imu"
        with pytest.raises(SourceError, match="cannot be reached"):
            open_source(Spec.parse(spec), tiny_sensor.card)
        Reading(open_source(Spec.parse(f"{spec}?ca={certificate}"), tiny_sensor.card)).__exit__(None, None, None)
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("mqtt://me:secret@localhost/pump", "holds a user or a password"),
        ("mqtt://localhost/pump?password=secret", "holds a user or a password"),
        ("mqtt://localhost", "is no broker with a topic"),
        ("mqtt:localhost/pump", "is no broker with a topic"),
        ("mqtt://localhost:99999/pump", "is no broker with a topic"),
        ("mqtt://localhost/pump/+", "several topics are several sensors"),
        ("mqtt://localhost/pump/#", "several topics are several sensors"),
        ("mqtt://localhost/pump?ca=file", "unknown option ca"),
        ("mqtts://localhost/pump?ca=/none.pem", "there is no file /none.pem"),
    ],
)
def test_a_spec_that_cannot_be_meant_is_refused_and_no_secret_repeated(tiny_sensor: Model, spec: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        open_source(Spec.parse(spec), tiny_sensor.card, waits=True)
    assert "secret" not in str(caught.value)


def test_a_broker_that_stays_away_costs_no_files(tmp_path: Path, tiny_sensor: Model) -> None:
    broker = Broker(tmp_path, "allow_anonymous true")
    broker.stop()
    files = Path("/proc/self/fd")
    gc.collect()
    gc.disable()
    try:
        before = len(list(files.iterdir()))
        for _ in range(20):
            with pytest.raises(SourceError, match="cannot be reached"):
                opened(broker, tiny_sensor)
        assert len(list(files.iterdir())) <= before + 2
    finally:
        gc.enable()
