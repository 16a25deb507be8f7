"""Opening: a spec becomes a source. Each kind is imported only when it is named."""

from __future__ import annotations

from otolith.inference.card import Card
from otolith.sources.source import Source, Spec


def open_source(spec: Spec, card: Card) -> Source:
    """Open what `spec` names, for a model that promises `card`.

    Raises `UsageError` on a spec that cannot be meant, `SourceError` or `RecordingError` on what cannot be opened.
    """
    if spec.scheme == "recording":
        from otolith.sources.recording import open_recording

        return open_recording(spec, card)
    if spec.scheme == "pipe":
        from otolith.sources.pipe import open_pipe

        return open_pipe(spec, card)
    from otolith.sources.microphone import open_microphone

    return open_microphone(spec, card)
