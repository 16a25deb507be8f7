"""A house: a real daemon, streams that are sent to it, and a witness; what is done to it is judged by the oracle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import psutil

from otolith import Model
from otolith.wire.control import DaemonStatus, Request, ask, is_answered
from otolith.wire.messages import AnyMessage, PosteriorsMessage
from tests.faults.feeds import Feed
from tests.faults.oracle import HOP, Verdict, Witness, judge
from tests.processes import DaemonProcess
from tests.tiny import write_tiny

PATIENCE_S = 30.0  # of a loaded machine; what is promised sooner is measured, not waited for
TOLD_S = 0.05


class House:
    """One daemon in `folder`, with `names` as streams from the network. `top` and `tail` are further settings.

    `environment` is the daemon's own. It may die and be started again: endpoints, streams and witness stay.
    """

    def __init__(
        self, folder: Path, names: Iterable[str] = ("one", "two", "three"), *, top: str = "", tail: str = "",
        **environment: str,
    ) -> None:  # fmt: skip
        self.folder, self.environment = folder, environment
        self.endpoint, self.ingest = f"ipc://{folder}/publish", f"zmq+ipc://{folder}/ingest"
        self.model = Model.open(write_tiny(folder / "model.onnx", "audio"))
        self.config = folder / "otolith.toml"
        self.write_settings(top, tail)
        rng = np.random.default_rng(len(str(folder)))
        self.pcm = rng.integers(-9000, 9000, 3 * 16000 + 17, np.int16)
        self.feeds = {name: Feed(self.ingest, name, np.roll(self.pcm, 7 * n)) for n, name in enumerate(names)}
        self._stack = ExitStack()

    def write_settings(self, top: str = "", tail: str = "") -> None:
        self.config.write_text(
            f'publish = "{self.endpoint}"\ncontrol = "{self.folder}/control"\n{top}\n'
            f'[ingest]\nbind = ["{self.ingest}"]\nsilence_s = 60\n'
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self) -> DaemonProcess:
        """Start the daemon, for the first time or again; it is there when it answers."""
        log = self._stack.enter_context((self.folder / "log").open("ab"))  # a pipe that nobody reads would fill
        self.daemon = self._stack.enter_context(DaemonProcess(str(self.config), stderr=log, **self.environment))
        wait_for(lambda: is_answered(self.folder / "control") or self.daemon.process.poll() is not None)
        return self.daemon

    def _end(self) -> None:
        for feed in self.feeds.values():
            feed.close(linger_s=0)

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

    def _is_behind(self, message: AnyMessage, sent: dict[str, int]) -> bool:
        if not isinstance(message, PosteriorsMessage) or message.stream not in sent:
            return False
        return self.feeds[message.stream].sent.index_of(message.time_ns) > sent[message.stream]

    def settle(self) -> dict[str, Verdict]:
        """Hold all streams until the daemon has told of all that was sent but for a broken frame, and judge."""
        for feed in self.feeds.values():
            feed.pause()
        try:
            wait_for(lambda: all(self.judge(feed).left < HOP for feed in self.feeds.values()), self._how_they_stand)
            return {name: self.judge(feed) for name, feed in self.feeds.items()}
        finally:
            for feed in self.feeds.values():
                feed.resume()

    def judge(self, feed: Feed) -> Verdict:
        assert feed.error is None, feed.error
        return judge(self.witness.messages, feed.sent, self.model)

    def _how_they_stand(self) -> str:
        return "\n".join(str(self.judge(feed)) for feed in self.feeds.values())

    def messages_of(self, stream: str) -> list[AnyMessage]:
        return [m for m in self.messages if m.stream == stream]

    @property
    def messages(self) -> list[AnyMessage]:
        return self.witness.messages


def wait_for(is_so: Callable[[], bool], what: Callable[[], str] = lambda: "", timeout_s: float = PATIENCE_S) -> float:
    """Until it is so; how long that took, in seconds."""
    began_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - began_s < timeout_s, f"not within {timeout_s:g} s; {what()}"
        time.sleep(TOLD_S)
    return time.monotonic() - began_s
