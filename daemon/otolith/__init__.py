"""Otolith: streaming sound and motion inference on recurrent state.

from otolith import Subscriber

with Subscriber("tcp://127.0.0.1:7311", kind="detection") as detections:
    for detection in detections:
        print(detection.label, detection.phase)
"""

from importlib import metadata

__version__ = metadata.version("otolith")
