"""`otolith devices`: what can be listened to."""

from __future__ import annotations

import click


@click.command(short_help="List the microphones.")
def devices() -> None:
    """List the microphones that `microphone:NAME` can name; the default is marked."""
    from otolith.errors import SourceError
    from otolith.sources.portaudio import PortAudio

    found = PortAudio().inputs()
    if not found:
        raise SourceError("there is no input device; plug one in, or use recording: or pipe:")
    for number, device in enumerate(found):
        mark = " " if number else "*"
        channels = device["max_input_channels"]
        click.echo(f"{mark} {device['name']}  ({device['default_samplerate']:g} Hz, {channels} channels)")
