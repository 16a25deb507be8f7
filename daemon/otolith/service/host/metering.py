"""Metering: the page of metrics, for as long as a daemon runs, where its settings ask for one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING

from otolith.settings import MetricsSettings
from otolith.wire.control import DaemonStatus

if TYPE_CHECKING:
    from otolith.sinks.metrics import Page

log = logging.getLogger(__name__)


def metered(
    settings: MetricsSettings | None, status: Callable[[], DaemonStatus]
) -> AbstractContextManager[Page | None]:
    """Serve the metrics of `status` until the context is left. Raises `OtolithError` where that cannot be."""
    if settings is None:
        return nullcontext()
    from otolith.sinks.metrics import Page  # here: a server's modules are for those who want one

    page = Page(settings.bind, status)
    log.info("metrics on %s", page.url)
    return closing(page)
