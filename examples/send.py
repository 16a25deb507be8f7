"""Send live samples to a daemon: `arecord -f S16_LE -r 16000 -t raw | python examples/send.py NAME [ENDPOINT]`."""

import sys

import numpy as np

from otolith import Producer

name, *endpoint = sys.argv[1:]
with Producer(*endpoint, stream=name, rate=16000) as producer:
    while data := sys.stdin.buffer.read(2560):  # 80 ms
        producer.push(np.frombuffer(data, "<i2"))
