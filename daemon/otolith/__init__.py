"""Otolith: streaming sound and motion inference on recurrent state.

    from otolith import Subscriber

    with Subscriber(kind="detection") as detections:
        for detection in detections:
            print(detection.label, detection.phase)

`Producer` sends live samples to a daemon. `Model` and `Stream` run the same inference in a program of one's own,
without a daemon.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from otolith.inference.model import Model as Model
    from otolith.inference.stream import Stream as Stream
    from otolith.wire.producer import Producer as Producer
    from otolith.wire.subscriber import Subscriber as Subscriber

__all__ = ["Model", "Producer", "Stream", "Subscriber", "__version__"]

_HOMES = {
    "Model": "otolith.inference.model",
    "Producer": "otolith.wire.producer",
    "Stream": "otolith.inference.stream",
    "Subscriber": "otolith.wire.subscriber",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: a subscriber needs no onnxruntime, and a model no ZeroMQ."""
    if name == "__version__":
        from importlib.metadata import version  # here: it costs a daemon's start a tenth of a second

        return version("otolith")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
