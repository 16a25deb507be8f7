"""The check of a settings file: all that can be known without listening."""

from __future__ import annotations

from otolith.service.listener import check_rate
from otolith.service.opening import at_route, at_stream, check_stream, open_models, open_stream
from otolith.settings import Settings, triggers_for
from otolith.sinks.publisher import check_publish
from otolith.wire.guard import open_guard


def check_daemon(settings: Settings, where: str) -> list[str]:
    """Check everything that can be checked without listening; what was found, a line each."""
    is_guarded = open_guard(settings.keys) is not None
    check_publish(settings.publish, is_guarded=is_guarded)
    models = open_models(settings)
    lines = [f"publishes on {settings.publish}"]
    if settings.workers > 1:
        lines.append(f"spreads its streams over {settings.workers} workers")
    if settings.metrics is not None:
        lines.append(f"tells metrics on http://{settings.metrics.bind}/metrics")
    for stream in settings.stream:
        at = at_stream(where, stream)
        model = models[stream.model]
        triggers_for(stream, model.card, at)
        if not check_stream(stream, model, at):  # a device may be plugged in later
            check_rate(model.card, open_stream(stream, model, at).rate, stream.resample, at)
        lines.append(f'stream "{stream.name}": {stream.source} -> {model.identity}')
    if settings.ingest is not None:
        from otolith.sources.network.doors import check_door

        for endpoint in settings.ingest.bind:
            check_door(endpoint, settings.ingest.allow, is_guarded=is_guarded)
            lines.append(f"takes streams on {endpoint}")
    for route in settings.route:
        triggers_for(route, models[route.model].card, at_route(where, route))
        lines.append(f'route "{route.pattern}": {models[route.model].identity}')
    return lines
