"""Opening: a spec becomes a source. Each kind is imported only when it is named."""

from __future__ import annotations

from otolith.sources.source import Source, Spec, Wanted


def open_source(spec: Spec, wanted: Wanted, *, waits: bool = False) -> Source:
    """Open what `spec` names, as it is `wanted`. A device is opened again whenever it fails; with `waits` it may be
    missing at first.

    Raises `UsageError` on a spec that cannot be meant, `SourceError` or `RecordingError` on what cannot be opened.
    """
    if spec.scheme == "recording":
        from otolith.sources.recording import open_recording

        return open_recording(spec, wanted)
    if spec.scheme == "pipe":
        from otolith.sources.pipe import open_pipe

        return open_pipe(spec, wanted)
    from otolith.sources.microphone import open_microphone

    return open_microphone(spec, wanted, waits=waits)
