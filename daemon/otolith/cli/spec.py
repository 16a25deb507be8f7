"""A source's spec on the command line: one that cannot be meant is a usage error, told before anything is opened."""

from __future__ import annotations

import click


def check_source(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """As `check_spec`; a daemon takes an endpoint of the network as well."""
    from otolith.settings import INGEST_SCHEMES

    return text if text is not None and text.startswith(INGEST_SCHEMES) else check_spec(context, parameter, text)


def check_spec(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """The spec as it was given. Raises `UsageError` on a scheme that is not known."""
    from otolith.sources.source import Spec

    if text is not None:
        Spec.parse(text)
    return text
