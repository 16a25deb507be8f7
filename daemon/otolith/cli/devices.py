"""`otolith devices`: what can be listened to."""

from __future__ import annotations

import click


@click.command(short_help="List the microphones.")
def devices() -> None:
    """List the microphones that `microphone:NAME` can name; the default is marked."""
    from otolith.errors import SourceError
    from otolith.sources.microphone import input_devices, portaudio

    audio = portaudio()
    found = input_devices(audio)
    if not found:
        raise SourceError("there is no input device; plug one in, or use recording: or pipe:")
    default = audio.default.device[0]
    for device in found:
        mark = "*" if device["index"] == default else " "
        channels = device["max_input_channels"]
        click.echo(f"{mark} {device['name']}  ({device['default_samplerate']:g} Hz, {channels} channels)")
