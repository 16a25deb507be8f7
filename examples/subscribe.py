"""Print what a daemon detects: `python examples/subscribe.py [ENDPOINT]`."""

import sys

from otolith import Subscriber

with Subscriber(*sys.argv[1:], kind="detection") as detections:
    for detection in detections:
        print(detection.stream, detection.label, detection.phase, f"{detection.confidence:.2f}", flush=True)
