"""Settings become a daemon: a reception for its streams, a publisher, the loop between them, and the doors to both."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from functools import partial

import msgspec

from otolith.service.ailments import Ailments
from otolith.service.daemon import Daemon
from otolith.service.host.bouncer import SELDOM_S, Bouncer
from otolith.service.host.warden import Warden
from otolith.service.keeping.keeper import open_keeper
from otolith.service.loop import Loop
from otolith.service.opening import open_models
from otolith.service.reception import Reception
from otolith.service.report import Report
from otolith.settings import RecorderSettings, Settings
from otolith.sinks.publisher import Publisher, check_publish
from otolith.sinks.relay import Relay
from otolith.sinks.sink import Sink
from otolith.sinks.tally import Tally
from otolith.trial import Trial
from otolith.wire.guard import Guard, open_guard
from otolith.wire.line import Ledger, Line, worker_of


def record(loop: Loop, reception: Reception, settings: RecorderSettings, boot: str, line: Line | None) -> None:
    """Have what `loop` hears and tells recorded; each worker sees to its own streams' folders, and has its share."""
    from otolith.service.recording.taping import Taping  # here: most record nothing
    from otolith.sinks.recorder import Disk, Recorder

    ailments, number, of = loop.ailments, 0 if line is None else line.worker, 1 if line is None else line.of
    disk = Disk(
        partial(ailments.ail, "recorder"),
        partial(ailments.mend, "recorder"),
        lambda stream: worker_of(stream.encode(), of) == number,
    )
    recorder = Recorder(msgspec.structs.replace(settings, megabytes=settings.megabytes / of), disk)
    loop.taping = Taping(recorder, settings, boot, lambda: reception.models)
    loop.add_sink(recorder)


def assemble(settings: Settings, where: str, line: Line | None = None, trial: Trial | None = None) -> Daemon:
    """Everything opened, nothing running. Errors begin with `where` and name the stream.

    With a `line` it is a worker: its settings are its share, and the public endpoints are held at the line's other end.
    Models are tried in a `trial` that was begun before, or in one of our own.
    """
    guard = open_guard(settings.keys) if line is None else None
    check_publish(settings.publish, is_guarded=guard is not None or line is not None)
    ledger = None if line is None else Ledger()
    # first of all: subscribers come back meanwhile, and hear what was lost
    publisher = Publisher(settings.publish, guard) if line is None or ledger is None else Relay(line, ledger)
    with ExitStack() as stack:
        stack.callback(publisher.close)
        daemon = _assemble(settings, where, line, ledger, publisher, guard, trial)
        stack.pop_all()
        return daemon


def _assemble(
    settings: Settings,
    where: str,
    line: Line | None,
    ledger: Ledger | None,
    publisher: Publisher | Relay,
    guard: Guard | None,
    trial: Trial | None,
) -> Daemon:
    boot = secrets.token_hex(8)
    ailments = Ailments()
    number = 0 if line is None else line.worker
    keeper = open_keeper(settings.state, number, ailments, is_worker=line is not None)
    models = open_models(settings, trial)
    if keeper is not None and keeper.estate.is_known and isinstance(publisher, Publisher):
        publisher.await_return()
    reception = Reception(settings, where, boot, line, ledger, models, keeper)
    tally = None if settings.metrics is None else Tally()
    sinks: list[Sink] = [publisher] if tally is None else [publisher, tally]
    loop = Loop(reception.company, sinks, keeper, ailments)
    loop.warden = Warden(publisher.pulse)
    if settings.recorder.folder:
        record(loop, reception, settings.recorder, boot, line)
    reception.seat(loop)
    halls = [publisher.visitors] if isinstance(publisher, Publisher) else []
    if settings.ingest is None:
        return Daemon(loop, publisher, reception, tally=tally, bouncer=Bouncer(halls, look_s=SELDOM_S))
    from otolith.service.admission import admission  # here: whom nobody sends to need not wait for it
    from otolith.service.arrivals import Arrivals
    from otolith.sources.network.ingest import Ingest
    from otolith.sources.network.returns import NOTHING_KEPT

    kept = NOTHING_KEPT if keeper is None else keeper.estate
    ingest = Ingest(settings.ingest, admission(reception.terms), line, guard, kept)
    if keeper is not None:
        keeper.gone = ingest.gone
    loop.report = Report(boot, ingest.faults, None if line is None else line.worker)
    loop.attend("ingest", Arrivals(ingest, loop, reception.welcome).run)
    bouncer = Bouncer([*halls, *ingest.visitors], lambda: ingest.own_bytes)
    ingest.turned_out = lambda: bouncer.turned_out
    return Daemon(loop, publisher, reception, ingest, tally, bouncer)
