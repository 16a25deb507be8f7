"""The loop: blocks from other threads, through their listeners and the engines, to the sinks; a heartbeat every second.

One wake-up serves every stream that has something. Handed all it needs, so that a test drives it with arrays. Listeners
and engines belong to the loop's thread; whoever brings blocks has only a shelf to put them on.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import islice
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from otolith.errors import OtolithError
from otolith.inference.engine import Seat
from otolith.inference.stream import Stream
from otolith.service.accounts import Accounts
from otolith.service.ailments import Ailments
from otolith.service.company import Company
from otolith.service.heartbeats import Heartbeats
from otolith.service.host.systemd import notify
from otolith.service.host.warden import Warden
from otolith.service.inbox import Inbox, Shelf, Taken
from otolith.service.keeping.checkpoint import Checkpoint, collect
from otolith.service.keeping.keeper import Keeper
from otolith.service.listener import Listener
from otolith.service.relief import Relief, Silent
from otolith.service.report import Report
from otolith.service.threads import Threads, Work
from otolith.sinks.sink import Sink
from otolith.sources.source import Block, Source
from otolith.wire.messages import Message, StatusMessage

if TYPE_CHECKING:
    from otolith.service.recording.taping import Taping

HELD_S = 2.0
MANY = 20  # streams: what each has to tell would make frames late, if more told it at once
THREADS_END_S = 0.3  # a reader that hangs (a frozen device) is left behind

MakeListener = Callable[[], Listener]
T = TypeVar("T")

log = logging.getLogger(__name__)


class Loop:
    """Steps listeners until every stream and every thread beside it has ended, one has failed, or `stop` is called."""

    def __init__(
        self, company: Company, sinks: list[Sink], keeper: Keeper | None = None, ailments: Ailments | None = None
    ) -> None:
        self._company, self._sinks, self._keeper = company, sinks, keeper
        self.ailments = ailments or Ailments()
        self.taping: Taping | None = None  # where what is heard is recorded
        self._told_ailments = ""
        self._stop = Event()
        self._inbox = Inbox()
        self.ailments.wake = self._inbox.wake
        self._newcomers: deque[tuple[Shelf, MakeListener]] = deque()
        self._listeners: dict[Shelf, Listener] = {}
        self._seats: dict[Seat | Stream, Listener | Silent] = {}
        self._threads = Threads(self._inbox.finish)
        self._readers: dict[Shelf, Thread] = {}
        self._working = 0
        self.report: Report | None = None  # what the daemon says of itself, if it is to
        self.warden = Warden()
        self._heartbeats: Heartbeats[Shelf] = Heartbeats()
        self.accounts = Accounts()  # as of the last whole second, for any thread to read
        self._reliefs: dict[Relief, Listener] = {}
        self._asked: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._told: dict[Shelf, StatusMessage] = {}
        self._failure: OtolithError | None = None

    def add_sink(self, sink: Sink) -> None:
        """Messages go there too. To be called before `run`."""
        self._sinks.append(sink)

    def add(self, name: str, make: MakeListener, rate: float, *, live: bool) -> Shelf:
        """A place for a stream that comes now, before or while the loop runs; from any thread.

        `put` its blocks there, and `remove` it behind the last. `make` is called in the loop's thread, before the first
        block is taken. `rate` (samples a second) bounds what the place holds: two seconds. The caller sees to it that
        no two streams have one name at a time.
        """
        shelf = Shelf(name, max(1, round((rate or 100) * HELD_S)), live)
        self._newcomers.append((shelf, make))
        self._inbox.wake()
        return shelf

    def put(self, shelf: Shelf, block: Block) -> None:
        """Leave a block; waits for room where the stream is not live. From any thread."""
        self._inbox.put(shelf, block, self._stop)

    def put_live(self, blocks: Iterable[tuple[Shelf, Sequence[Block]]]) -> None:
        """Leave blocks of many live streams at once; never waits. From any thread."""
        self._inbox.put_live(blocks)

    def remove(self, shelf: Shelf) -> None:
        """The stream has ended: its last words come behind its last block, then it is forgotten. From any thread."""
        self._inbox.end(shelf)

    def attend(self, what: str, work: Work) -> None:
        """Run `work` in a thread beside the loop, until it returns or the event that it is given is set.

        To be called before `run`, or in the loop's thread. The loop lives at least as long; where `work` raises, it
        ends and raises that, named by `what`.
        """
        self._start(what, work)

    def listen(self, name: str, source: Source, make: MakeListener) -> Shelf:
        """Add a stream and a thread that reads it from `source`; as `attend`."""
        shelf = self.add(name, make, source.rate, live=source.live)

        def read(stop: Event) -> None:
            for block in source.blocks(stop):
                self.put(shelf, block)
            self.remove(shelf)  # not where it failed: that ends the daemon, and the stream is put away as all are

        self._readers[shelf] = self._start(f"stream {name!r}", read)
        return shelf

    def dismiss(self, shelf: Shelf) -> None:
        """Read a stream's source no more: it ends behind what was read. In the loop's thread alone."""
        if reader := self._readers.get(shelf):
            self._threads.stop(reader)

    @property
    def statuses(self) -> list[StatusMessage]:
        """The last heartbeat of every stream that is there. From any thread."""
        return list(self._told.values())

    def ask(self, work: Callable[[], T], timeout_s: float = 10.0) -> T:
        """What `work` returns or raises, done in the loop's thread between two wake-ups. From any other thread."""
        done: Future[T] = Future()
        self._asked.append((work, done))
        self._inbox.wake()
        return done.result(timeout_s)

    @property
    def listeners(self) -> dict[Shelf, Listener]:
        """Who listens now. In the loop's thread alone."""
        return self._listeners

    def relieve(self, listener: Listener, relief: Relief) -> None:
        """Have another model take over a stream once it has warmed up. In the loop's thread alone."""
        self._drop_relief(listener)
        listener.relief = relief
        self._seats[relief.seat] = Silent()
        self._reliefs[relief] = listener

    def stop(self) -> None:
        """End soon: what has been taken in is still processed and published. Safe in a signal handler's thread."""
        self._stop.set()
        self._threads.stop_all()
        self._inbox.wake()

    def run(self) -> None:
        """Raises what ended a thread's work, once everything before it is published."""
        self.accounts.begin(time.monotonic())
        self._admit()
        self._threads.run()
        while (self._working or self._listeners) and not self._stop.is_set() and self._failure is None:
            now_s = time.monotonic()
            until_s = min(self._company.due_s, self._heartbeats.next_s, self.accounts.next_s, self._checkpoint_s)
            self._serve(self._inbox.take(max(0.0, until_s - now_s), self._company.enough))
            self._beat(time.monotonic())
        self._finish()

    def _start(self, what: str, work: Work) -> Thread:
        self._working += 1
        return self._threads.start(what, work)

    def _serve(self, taken: Taken) -> None:
        """One wake-up: all that came, then one step of what need not wait, then those that are done."""
        started_s = time.monotonic()
        self._admit()
        while self._asked:
            self._answer(*self._asked.popleft())
        for shelf, blocks in taken.blocks:
            listener = self._listeners[shelf]
            for block in blocks:
                if self.taping is not None:
                    self.taping.hear(shelf.name, listener, block)
                if messages := listener.take(block):
                    self._publish(messages)
        for seat, events in self._company.step(started_s, taken.since_s):
            if messages := self._seats[seat].hear(events):
                self._publish(messages)
        if self._reliefs:
            self._hand_over_some()
        for shelf in taken.ended:
            if self._keeper is not None and self._stop.is_set():
                continue  # it is we who end: its state is kept
            self._end(shelf)
            log.info("stream %s: the input ended", shelf.name, extra={"stream": shelf.name, "event": "ended"})
        for what, error in taken.finished:
            self._conclude(what, error)
        if not self.warden.is_ready:
            self.warden.greet(self._own(), len(self._listeners))
        self.accounts.busy_s += time.monotonic() - started_s

    def _admit(self) -> None:
        """Those who have come since the last wake-up get their listeners."""
        while self._newcomers:
            shelf, make = self._newcomers.popleft()
            listener = self._listeners[shelf] = make()
            self._seats[listener.stream] = listener
            self._heartbeats.add(shelf, time.monotonic())

    def _answer(self, work: Callable[[], Any], done: Future[Any]) -> None:
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001 - it is raised where it was asked
            done.set_exception(error)

    def _hand_over_some(self) -> None:
        """Those who stand at one frame still do at the next wake-up, but for a few."""
        ready = [relief for relief in self._reliefs if relief.is_ready]
        for relief in ready[:MANY]:
            self._hand_over(relief)
        if ready[MANY:]:
            self._inbox.wake()

    def _hand_over(self, relief: Relief) -> None:
        listener = self._reliefs.pop(relief)
        shelf = next(shelf for shelf, each in self._listeners.items() if each is listener)
        self._publish([*listener.give_way(), self._status(shelf, listener)])
        relief.turn()
        del self._seats[relief.old]
        self._seats[relief.seat] = listener
        extra = {"stream": shelf.name, "model": relief.seat.model.identity, "event": "taken over"}
        log.info("stream %s: model %s has taken over", shelf.name, extra["model"], extra=extra)

    def _drop_relief(self, listener: Listener) -> None:
        if (relief := listener.relief) is not None:
            listener.relief = None
            del self._reliefs[relief]
            del self._seats[relief.seat]
            relief.seat.leave()

    def _end(self, shelf: Shelf) -> None:
        """A stream's last words and its accounts."""
        listener = self._listeners.pop(shelf)
        self._drop_relief(listener)
        self._readers.pop(shelf, None)
        del self._seats[listener.stream]
        self._heartbeats.remove(shelf)
        self._publish(listener.close())
        self.accounts.end(shelf, listener)
        self._publish([self._status(shelf, listener)])
        self._told.pop(shelf, None)
        if self.taping is not None:
            self.taping.end(shelf.name, "ended")

    def _conclude(self, what: str, error: Exception | None) -> None:
        self._working -= 1
        if isinstance(error, OtolithError):
            self._failure = self._failure or type(error)(f"{what}: {error}")
        elif error is not None:
            raise error

    @property
    def _checkpoint_s(self) -> float:
        """When the streams' state is to be kept; infinity where it is not."""
        return math.inf if self._keeper is None else self._keeper.due_s

    def _beat(self, now_s: float) -> None:
        """Publish what status is due; once a second, the warden looks how things are."""
        if self._keeper is not None and self._keeper.wants(now_s):
            self._keeper.take(self._checkpoint())
        for shelf in self._heartbeats.take(now_s):
            self._publish([self._status(shelf, self._listeners[shelf])])
        if self.ailments.text != self._told_ailments:
            self._tell_ailments()
        if now_s >= self.accounts.next_s:
            streams = len(self._listeners)
            self.accounts.close_second(now_s, self._listeners)
            if self.report is not None:
                uptime_s = now_s - self.accounts.started_s
                self._publish([self.report.write(self.accounts, streams, uptime_s, self.ailments.text)])
            self.warden.look(now_s, self.accounts.frames, self._own(), self._told.values(), self.ailments.text)

    def _own(self) -> list[Listener]:
        """Those whose sources the daemon opens itself."""
        return [self._listeners[shelf] for shelf in self._readers if shelf in self._listeners]

    def _checkpoint(self) -> Checkpoint:
        return collect((shelf.name, listener) for shelf, listener in self._listeners.items())

    def _tell_ailments(self) -> None:
        """What ails the daemon is told at once; where streams are many, by some of them, and soon by the others."""
        self._told_ailments = self.ailments.text
        for shelf, listener in islice(self._listeners.items(), MANY):
            self._publish([self._status(shelf, listener)])

    def _status(self, shelf: Shelf, listener: Listener) -> Message:
        accounts = self.accounts
        factor = accounts.real_time_factor(self._listeners.values())
        told = self._told[shelf] = listener.status(
            time.monotonic() - accounts.started_s, factor, shelf.drops, self.ailments.text
        )
        return told

    def _finish(self) -> None:
        """The last words: what was taken in, what was active, and each stream's accounts."""
        notify("STOPPING=1")
        self.stop()
        self._threads.join(THREADS_END_S)
        self._serve(self._inbox.take(0.0))
        if self._keeper is not None:
            self._suspend(self._keeper)
        for shelf in list(self._listeners):
            self._end(shelf)
        if self.taping is not None:
            self.taping.close()
        if self._failure is not None:
            raise self._failure

    def _suspend(self, keeper: Keeper) -> None:
        """Those who still listen are put away for the next run: nothing of theirs ends."""
        for listener in self._listeners.values():
            self._drop_relief(listener)
            self._publish(listener.suspend())
        keeper.close(self._checkpoint())
        for shelf, listener in self._listeners.items():
            self._publish([self._status(shelf, listener)])
            if self.taping is not None:
                self.taping.end(shelf.name, "suspended")
        self._listeners.clear()

    def _publish(self, messages: Iterable[Message]) -> None:
        for message in messages:
            for sink in self._sinks:
                sink.take(message)
