"""As many producers as streams, each pushing blocks in real time; prints samples pushed and worst delay (ms).

    python bench/producers.py ENDPOINT STREAMS SECONDS [BLOCK_S]

Blocks are of 80 ms. Devices do not beat in time: an eighth of the streams pushes in each eighth of that. A block's
capture time is when it was due.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import zmq

from machine import allow_many_files
from models import RATE, sound_bytes
from otolith import Producer

BLOCK_S = 0.08
GROUPS = 8
APART = 37  # blocks from where one stream hears the recording to where the next does
LINGER_S = 0.5


def main() -> None:
    endpoint, streams, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    block_s = float(sys.argv[4]) if sys.argv[4:] else BLOCK_S
    allow_many_files()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, streams + 16)
    address = endpoint.removeprefix("zmq+")
    producers = [Producer(address, stream=f"s{n}", rate=RATE, context=context) for n in range(streams)]
    time.sleep(1)
    worst_s = push_all(producers, round(seconds / block_s), block_s)
    deadline_s = time.monotonic() + LINGER_S
    for producer in producers:
        producer.wait(max(0.0, deadline_s - time.monotonic()))
    time.sleep(LINGER_S)
    print(sum(producer.pushed for producer in producers), round(1000 * worst_s, 1))
    for producer in producers:
        producer.close(linger_s=0)  # without goodbyes: a thousand of them, one after the other, would take long
    context.destroy(linger=0)


def push_all(producers: list[Producer], blocks: int, block_s: float) -> float:
    """Push so many blocks to each; the worst delay in seconds."""
    block = round(block_s * RATE)
    sound = np.frombuffer(sound_bytes(), "<i2")
    pieces = sound[: len(sound) // block * block].reshape(-1, block)
    began_s, began_ns, worst_s = time.monotonic(), time.time_ns(), 0.0
    for tick in range(blocks * GROUPS):
        due_s = (tick + 1) * block_s / GROUPS
        time.sleep(max(0.0, began_s + due_s - time.monotonic()))
        worst_s = max(worst_s, time.monotonic() - began_s - due_s)
        captured_ns = began_ns + round(due_s * 1e9)
        for number in range(tick % GROUPS, len(producers), GROUPS):
            producers[number].push(pieces[(tick // GROUPS + APART * number) % len(pieces)], time_ns=captured_ns)
    return worst_s


if __name__ == "__main__":
    main()
