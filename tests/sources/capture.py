"""Run by a test: capture from a microphone for some seconds, save what came, print a line when listening."""

from __future__ import annotations

import sys
import threading

import numpy as np

from otolith.errors import SourceError
from otolith.sources.microphone import Microphone
from otolith.sources.portaudio import PortAudio


def main() -> None:
    path, seconds = sys.argv[1], float(sys.argv[2])
    microphone = Microphone(PortAudio(), "pulse", block_ms=int(sys.argv[3]), rate=int(sys.argv[4]))
    stop = threading.Event()
    threading.Timer(seconds, stop.set).start()
    blocks, lost = [], 0
    try:
        for block in microphone.blocks(stop):
            if not blocks:
                print("listening", microphone.rate, flush=True)
            blocks.append(block.samples)
            lost += block.lost
    except SourceError as error:
        print(error, flush=True)
    finally:
        np.save(path, np.concatenate(blocks))
        print("lost", lost, "block lengths", sorted({len(block) for block in blocks}), flush=True)


if __name__ == "__main__":
    main()
