"""A house: a real daemon, streams that are sent to it, and a witness; what is done to it is judged by the oracle."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
import psutil
from numpy.typing import NDArray

from otolith import Model
from otolith.wire.control import DaemonStatus, Request, ask, is_answered
from otolith.wire.messages import AnyMessage, PosteriorsMessage
from tests.faults.feeds import BLOCK, Feed, ProducerFeed
from tests.faults.oracle import HOP, RATE, Verdict, Witness, judge
from tests.processes import DaemonProcess
from tests.tiny import write_tiny

PATIENCE_S = 30.0  # of a loaded machine; what is promised sooner is measured, not waited for
LOOK_S = 0.05
TOLERANCE = 1e-4


class House:
    """One daemon in `folder`, with `names` as streams from the network that say `pcm` again and again.

    `top` and `tail` are further settings, `environment` is the daemon's own, and `log` where it writes. With `ports` it
    is reached over TCP (publish, ingest), by the streams at `feeds_to`. It may die and be started again: endpoints,
    streams and witness stay.
    """

    def __init__(
        self,
        folder: Path,
        names: Iterable[str] = ("one", "two", "three"),
        *,
        model: Path | None = None,
        pcm: NDArray[np.int16] | None = None,
        timed: bool = True,
        ports: Sequence[int] = (),
        feeds_to: str = "",
        top: str = "",
        tail: str = "",
        silence_s: float = 60,
        log: str = "",
        **environment: str,
    ) -> None:
        self.folder, self.log, self.environment = folder, Path(log or folder / "log"), environment
        self.endpoint, self.ingest = f"ipc://{folder}/publish", f"zmq+ipc://{folder}/ingest"
        if ports:
            self.endpoint, self.ingest = f"tcp://127.0.0.1:{ports[0]}", f"zmq+tcp://127.0.0.1:{ports[1]}"
        self.udp = ("127.0.0.1", free_port())
        path = folder / "model.onnx"
        self.model = Model.open(write_tiny(path, "audio") if model is None else Path(shutil.copy(model, path)))
        self.config, self._silence_s = folder / "otolith.toml", silence_s
        self.write_settings(top, tail)
        noise = np.random.default_rng(0).integers(-9000, 9000, 3 * 16000 + 17, np.int16)
        self.pcm = noise if pcm is None else pcm
        self.feeds: dict[str, Feed] = {
            name: ProducerFeed(feeds_to or self.ingest, name, np.roll(self.pcm, 1234 * number), timed=timed)
            for number, name in enumerate(names)
        }
        self._stack = ExitStack()

    def write_settings(self, top: str = "", tail: str = "") -> None:
        self.config.write_text(
            f'publish = "{self.endpoint}"\ncontrol = "{self.folder}/control"\n{top}\n'
            f'[ingest]\nbind = ["{self.ingest}", "udp://127.0.0.1:{self.udp[1]}"]\nsilence_s = {self._silence_s}\n'
            f'[[route]]\npattern = "*"\nmodel = "model.onnx"\nposteriors_per_s = 50\n{tail}'
        )

    def __enter__(self) -> Self:
        self._stack.callback(self._end)
        self.start()
        self.witness = self._stack.enter_context(Witness(self.endpoint))
        time.sleep(0.2)  # until it has subscribed
        for feed in self.feeds.values():
            feed.start()
        self.wait_until_told()
        return self

    def add(self, feed: Feed) -> None:
        """One more stream, of another kind."""
        self.feeds[feed.name] = feed
        feed.start()
        self.wait_until_told()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> DaemonProcess:
        """Start the daemon, for the first time or again; it is there when it answers."""
        log = self._stack.enter_context(self.log.open("ab"))  # a pipe that nobody reads would fill
        self.daemon = self._stack.enter_context(DaemonProcess(str(self.config), stderr=log, **self.environment))
        wait_for(lambda: is_answered(self.folder / "control") or self.daemon.process.poll() is not None)
        return self.daemon

    def _end(self) -> None:
        for feed in self.feeds.values():
            feed.close()

    @property
    def status(self) -> DaemonStatus:
        told = ask(self.folder / "control", Request("status")).status
        assert told is not None
        return told

    @property
    def memory(self) -> int:
        """Resident bytes of the daemon."""
        resident: int = psutil.Process(self.daemon.process.pid).memory_info().rss
        return resident

    def wait_until_told(self) -> float:
        """Until something that was sent behind this moment is predicted of every stream: the daemon is well."""
        seen, sent = len(self.messages), {name: feed.sent.total for name, feed in self.feeds.items()}
        return wait_for(lambda: {m.stream for m in self.messages[seen:] if self._is_behind(m, sent)} >= sent.keys())

    def wait_until_kept(self, workers: int = 1) -> None:
        """Until each has written twice what it keeps in `state`: all streams that are here are in it. At once then."""
        for state in 2 * [self.folder / "state" / f"{number}.state" for number in range(workers)]:
            before_ns = written_ns(state)
            wait_for(lambda: written_ns(state) > before_ns, look_s=0.001)  # noqa: B023 - called at once

    def _is_behind(self, message: AnyMessage, sent: dict[str, int]) -> bool:
        if not isinstance(message, PosteriorsMessage) or message.stream not in sent:
            return False
        timed = self.feeds[message.stream].sent
        return not timed.began_ns or timed.index_of(message.time_ns) > sent[message.stream]

    def delay_s(self, number: int) -> float:
        """How long behind the last sample of its block a message was heard, but for what all of its stream have."""
        message = self.messages[number]
        rest = -self.feeds[message.stream].sent.index_of(message.time_ns) % BLOCK
        return self.witness.heard_s[number] - message.time_ns / 1e9 - rest / RATE

    def settle(self, tolerance: float = TOLERANCE) -> dict[str, Verdict]:
        """Hold all streams until the daemon has told of all that was sent but for a broken frame, and judge."""
        for feed in self.feeds.values():
            feed.pause()
        try:
            wait_for(lambda: all(map(self._is_told, self.feeds.values())), self._how_they_stand)
            return {name: self.judge(feed, self.model, tolerance) for name, feed in self.feeds.items()}
        finally:
            for feed in self.feeds.values():
                feed.resume()

    def _is_told(self, feed: Feed) -> bool:
        verdict = self.judge(feed)
        return verdict.left < HOP and not verdict.untold

    def judge(self, feed: Feed, model: Model | None = None, tolerance: float = TOLERANCE) -> Verdict:
        """How a stream stands; with the `model`, its posteriors are held against that too."""
        assert feed.error is None, feed.error
        return judge(self.messages, feed.sent, model, tolerance)

    def _how_they_stand(self) -> str:
        return "\n".join(str(self.judge(feed)) for feed in self.feeds.values())

    def messages_of(self, stream: str) -> list[AnyMessage]:
        return [m for m in self.messages if m.stream == stream]

    @property
    def messages(self) -> list[AnyMessage]:
        return self.witness.messages


def wait_for(
    is_so: Callable[[], bool],
    what: Callable[[], str] = lambda: "",
    timeout_s: float = PATIENCE_S,
    look_s: float = LOOK_S,
) -> float:
    """Until it is so; how long that took, in seconds."""
    began_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - began_s < timeout_s, f"not within {timeout_s:g} s; {what()}"
        time.sleep(look_s)
    return time.monotonic() - began_s


def written_ns(path: Path) -> int:
    """When a file was written last; 0 where it never was."""
    return path.stat().st_mtime_ns if path.exists() else 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
