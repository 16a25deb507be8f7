"""The kinds of faults: what can be done to a daemon that stays up, each by what really does it.

A kind does its harm, ends it, and returns the names of the streams that may have lost something to it.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from threading import Event, Thread

import numpy as np
import psutil
import zmq

from otolith import Model, Producer
from otolith.wire.control import Answer, Request, exchange
from tests.faults.feeds import BACK_S
from tests.faults.house import House, wait_for
from tests.tiny import write_tiny

Fault = Callable[[House, random.Random], Collection[str]]
NOBODY: Collection[str] = ()


def stopped(house: House, rng: random.Random) -> Collection[str]:
    """SIGSTOP for some seconds: producers hold two of them, the rest is lost."""
    house.daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.5, 4.0))
    house.daemon.process.send_signal(signal.SIGCONT)
    return house.feeds


def starved(house: House, rng: random.Random) -> Collection[str]:
    """A tenth of a processor: it runs for 10 ms of each 100."""
    for _ in range(rng.randint(10, 20)):
        house.daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(0.09)
        house.daemon.process.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    return house.feeds


def good_reload(house: House, rng: random.Random) -> Collection[str]:
    """Another model takes over under load."""
    write_tiny(house.folder / "next.onnx", "audio", seed=rng.randrange(1000)).replace(house.folder / "model.onnx")
    assert not reload(house).error
    new = Model.open(house.folder / "model.onnx").identity
    wait_for(lambda: all(house.messages_of(name)[-1].model == new for name in house.feeds))
    return NOBODY


def bad_reload(house: House, rng: random.Random) -> Collection[str]:
    """Settings with a fault in them."""
    good = house.config.read_text()
    house.config.write_text(good + rng.choice(["[route.detector.maybe]\nthreshold = 0.5\n", "what = 1\n", "]\n"]))
    assert reload(house).error
    house.config.write_text(good)
    return NOBODY


def truncated_model(house: House, rng: random.Random) -> Collection[str]:
    """The model's file is cut off where it lies, and read again."""
    path = house.folder / "model.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole[: rng.randrange(len(whole))])
    assert "model.onnx" in reload(house).error
    path.write_bytes(whole)
    return NOBODY


def model_replaced_in_mid_read(house: House, rng: random.Random) -> Collection[str]:
    """Two models take turns at one path while it is read again and again: each time it is the one or the other."""
    path, spare, is_over = house.folder / "model.onnx", house.folder / "spare.onnx", Event()
    both = [write_tiny(spare, "audio", seed=seed).read_bytes() for seed in (0, rng.randrange(1, 1000))]

    def swap() -> None:
        for content in itertools.cycle(both):
            spare.write_bytes(content)
            spare.replace(path)
            if is_over.wait(0.001):
                return

    swapper = Thread(target=swap)
    swapper.start()
    errors = [reload(house).error for _ in range(4)]
    is_over.set()
    swapper.join()
    assert not any(errors), errors
    return NOBODY


def deaf_subscriber(house: House, rng: random.Random) -> Collection[str]:
    """One that joins and never reads."""
    with zmq.Context() as context, context.socket(zmq.SUB) as deaf:
        deaf.setsockopt(zmq.RCVHWM, 1)
        deaf.setsockopt(zmq.RCVBUF, 1024)
        deaf.setsockopt(zmq.LINGER, 0)
        deaf.subscribe("")
        deaf.connect(house.endpoint)
        time.sleep(rng.uniform(0.5, 1.5))
    return NOBODY


def killed_subscriber(house: House, rng: random.Random) -> Collection[str]:
    """Some that end in the middle of what they say, or of what they are told."""
    for _ in range(10):
        line = socket.socket(socket.AF_UNIX)
        line.connect(house.endpoint.removeprefix("ipc://"))
        line.sendall((b"\xff" + bytes(8) + b"\x7f\x03")[: rng.randrange(11)])
        line.close()
    listen = f"from otolith import Subscriber\nfor _ in Subscriber({house.endpoint!r}): print('.', flush=True)"
    with subprocess.Popen([sys.executable, "-c", listen], stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None
        listener.stdout.read(20)
        listener.kill()
    return NOBODY


def crowd(house: House, rng: random.Random) -> Collection[str]:
    """Many subscribers at once, who go again: no descriptor stays behind."""
    before = psutil.Process(house.daemon.process.pid).num_fds()
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        context.set(zmq.MAX_SOCKETS, 4096)
        for _ in range(rng.randint(50, 200)):
            one = stack.enter_context(context.socket(zmq.SUB))
            one.subscribe("")
            one.connect(house.endpoint)
        time.sleep(0.5)
    wait_for(lambda: psutil.Process(house.daemon.process.pid).num_fds() <= before + 4)
    return NOBODY


def hasty_producer(house: House, rng: random.Random) -> Collection[str]:
    """A stream that comes ten times as fast as it should."""
    feed = next(iter(house.feeds.values()))
    feed.pace = 10.0
    time.sleep(rng.uniform(0.3, 0.6))
    feed.pace = 1.0
    if feed.ahead_s > BACK_S / 2:  # its capture times would be ahead of all clocks before long
        feed.pause()
        time.sleep(feed.ahead_s)
        feed.resume()
    return [feed.name]


def double_producer(house: House, rng: random.Random) -> Collection[str]:
    """Another program sends under a name that is taken."""
    name = rng.choice(list(house.feeds))
    with Producer(house.ingest, stream=name, rate=16000) as other:
        for _ in range(5):
            other.push(np.zeros(640, np.int16))
            time.sleep(0.02)
        assert not other.is_welcome
        other.close(linger_s=0)
    return NOBODY


def broken_producer(house: House, rng: random.Random) -> Collection[str]:
    """Noise instead of blocks, and connections that end in the middle of one."""
    address = house.ingest.removeprefix("zmq+ipc://")
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.connect(house.ingest.removeprefix("zmq+"))
        for _ in range(50):
            stranger.send_multipart([rng.randbytes(rng.randrange(100)) for _ in range(rng.randrange(1, 5))])
    for _ in range(10):
        line = socket.socket(socket.AF_UNIX)
        line.connect(address)
        line.sendall(rng.randbytes(rng.randrange(1, 64)))
        line.close()
    return NOBODY


def second_daemon(house: House, rng: random.Random) -> Collection[str]:
    """Somebody starts another daemon with the same settings: it ends, and says whose the address is."""
    command = [sys.executable, "-m", "otolith", "run", str(house.config)]
    other = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert other.returncode == 1
    assert "another daemon" in other.stderr
    return NOBODY


def pausing_producer(house: House, rng: random.Random) -> Collection[str]:
    """A producer that says nothing for a while, and goes on where it was."""
    feed = house.feeds[rng.choice(list(house.feeds))]
    feed.pause()
    time.sleep(rng.uniform(0.5, 2.0))
    feed.resume()
    return NOBODY


def hung_up_on(house: House, rng: random.Random) -> Collection[str]:
    """A control client that asks in the middle of a word, and another that says nothing at all."""
    for said in (b'{"comma', b"", os.urandom(200) + b"\n"):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(house.folder / "control"))
            line.sendall(said)
    return NOBODY


def reload(house: House) -> Answer:
    return exchange(house.folder / "control", Request("reload"), 60)


KINDS: dict[str, Fault] = {
    kind.__name__: kind
    for kind in (
        stopped, starved, good_reload, bad_reload, truncated_model, model_replaced_in_mid_read, deaf_subscriber,
        killed_subscriber, crowd, hasty_producer, double_producer, broken_producer, second_daemon,
        pausing_producer, hung_up_on,
    )
}  # fmt: skip
