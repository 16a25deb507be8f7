"""Opening: a spec becomes a source. Each kind is imported only when it is named."""

from __future__ import annotations

from otolith.sources.source import Source, Spec, Wanted


def can_be_missing(spec: Spec) -> bool:
    """Whether what `spec` names may come later: a device, a broker, a FIFO."""
    return spec.scheme != "recording" and spec.text.partition("?")[0] != "pipe:"


def check_source(spec: Spec, wanted: Wanted) -> None:
    """What can be said of a source that may come later, without opening it. Raises `UsageError`."""
    if spec.scheme == "pipe":
        from otolith.sources.pipe import plan_pipe

        plan_pipe(spec, wanted)
    elif spec.scheme == "serial":
        from otolith.sources.serial import plan_serial

        plan_serial(spec, wanted)
    elif spec.scheme in ("mqtt", "mqtts"):
        from otolith.sources.mqtt import plan_mqtt

        plan_mqtt(spec, wanted)


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

        return open_pipe(spec, wanted, waits=waits)
    if spec.scheme == "serial":
        from otolith.sources.serial import open_serial

        return open_serial(spec, wanted, waits=waits)
    if spec.scheme in ("mqtt", "mqtts"):
        from otolith.sources.mqtt import open_mqtt

        return open_mqtt(spec, wanted, waits=waits)
    from otolith.sources.microphone import open_microphone

    return open_microphone(spec, wanted, waits=waits)
