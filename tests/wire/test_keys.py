"""Keys: whoever is known is served, nobody else is, and no secret lies open."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from otolith import Producer, Subscriber
from otolith.errors import SettingsError, UsageError
from otolith.settings import IngestSettings
from otolith.sinks.publisher import Publisher, check_publish
from otolith.sources.network.ingest import Ingest
from otolith.wire.guard import Guard
from otolith.wire.keys import allow, make_keys, read_pair, read_public
from otolith.wire.messages import GapMessage

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - that is what keys are for
ANYWHERE = f"tcp://{EVERY_ADDRESS}:*"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A daemon's keys, and a client's that it allows; a stranger's lie beside."""
    make_keys(tmp_path / "daemon", "daemon")
    for name in ("client", "stranger"):
        make_keys(tmp_path, name)
    allow(tmp_path / "daemon", tmp_path / "client.key")
    return tmp_path / "daemon"


def reachable(endpoint: str) -> str:
    return endpoint.replace(EVERY_ADDRESS, "127.0.0.1")


def gap() -> GapMessage:
    return GapMessage(boot="b", seq=0, stream="s", model="m", time_ns=0, position=0, lost=1, reason="test")


def hears(publisher: Publisher, subscriber: Subscriber) -> bool:
    for _ in range(10):
        publisher.take(gap())
        if subscriber.receive(0.1) is not None:
            return True
    return False


@pytest.mark.parametrize("content", [b"curve\n    \n", b"curve\n public-key = \n", b"\xff" * 99, b"metadata\n"])
def test_a_file_that_is_no_key_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.key").write_bytes(content)
    with pytest.raises(SettingsError, match="holds no key"):
        read_public(tmp_path / "a.key")


def test_a_secret_is_for_its_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    public = make_keys(tmp_path, "laptop")
    secret = tmp_path / "laptop.key_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert b"secret-key" not in public.read_bytes()
    with pytest.raises(UsageError, match="there already"):
        make_keys(tmp_path, "laptop")
    secret.chmod(0o644)
    with pytest.raises(SettingsError, match="others may read this secret"):
        read_pair(secret)


def test_a_credential_may_have_an_access_list_but_not_be_everybodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_keys(tmp_path, "daemon")
    secret = tmp_path / "daemon.key_secret"
    secret.chmod(0o440)
    with pytest.raises(SettingsError, match="others may read"):
        read_pair(secret)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_pair(secret).secret
    secret.chmod(0o444)
    with pytest.raises(SettingsError, match="others may read"):
        read_pair(secret)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a\0b", "x" * 65])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no name for keys"):
        make_keys(tmp_path, name)


def test_what_is_no_key_is_told_to_be_that(tmp_path: Path) -> None:
    (tmp_path / "nonsense.key").write_text("hello")
    for name, why in (("nonsense.key", "holds no key"), ("nothing.key", "cannot be read")):
        with pytest.raises(SettingsError, match=why):
            allow(tmp_path, tmp_path / name)


def test_a_client_that_is_allowed_hears_and_a_stranger_does_not(folder: Path) -> None:
    daemon_key = folder / "daemon.key"
    with Publisher(ANYWHERE, Guard(folder)) as publisher:
        endpoint = reachable(publisher.endpoint)
        with Subscriber(endpoint, keys=folder.parent / "client.key_secret", daemon_key=daemon_key) as client:
            assert hears(publisher, client)
        with Subscriber(endpoint, keys=folder.parent / "stranger.key_secret", daemon_key=daemon_key) as stranger:
            assert not hears(publisher, stranger)
        with Subscriber(endpoint) as plain:
            assert not hears(publisher, plain)


def test_who_is_let_in_while_the_daemon_runs_is_heard_at_once(folder: Path) -> None:
    keys = {"keys": folder.parent / "stranger.key_secret", "daemon_key": folder / "daemon.key"}
    with Publisher(ANYWHERE, Guard(folder)) as publisher:
        allow(folder, folder.parent / "stranger.key")
        with Subscriber(reachable(publisher.endpoint), **keys) as late:
            assert hears(publisher, late)


def test_a_producer_needs_a_key_too(folder: Path) -> None:
    settings = IngestSettings(bind=[f"zmq+{ANYWHERE}"])
    with Ingest(settings, guard=Guard(folder)) as ingest:
        endpoint = reachable(ingest.endpoints[0])
        pushed = {}
        for name in ("client", "stranger"):
            keys = {"keys": folder.parent / f"{name}.key_secret", "daemon_key": folder / "daemon.key"}
            with Producer(endpoint, stream=name, rate=16000, **keys) as producer:
                producer.push(np.zeros(320, np.int16))
                if ingest.wait(1.0):
                    ingest.receive()
                pushed[name] = producer.wait(0.5)
                producer.close(0.0)
        assert pushed == {"client": True, "stranger": False}


def test_a_daemon_with_another_key_than_was_named_is_not_spoken_with(folder: Path) -> None:
    with Publisher(ANYWHERE, Guard(folder)) as publisher:
        keys = {"keys": folder.parent / "client.key_secret", "daemon_key": folder.parent / "stranger.key"}
        with Subscriber(reachable(publisher.endpoint), **keys) as client:
            assert not hears(publisher, client)


def test_without_keys_nothing_but_this_machine_is_served() -> None:
    with pytest.raises(SettingsError, match=r"without keys only loopback .* otolith keys make"):
        check_publish(f"tcp://{EVERY_ADDRESS}:7311", is_guarded=False)
    check_publish(f"tcp://{EVERY_ADDRESS}:7311", is_guarded=True)


def test_keys_without_the_daemons_are_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match="name both, or neither"):
        Subscriber(keys=folder.parent / "client.key_secret")
    with pytest.raises(SettingsError, match="allows nobody in"):
        Guard(folder.parent)
