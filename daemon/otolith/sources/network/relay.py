"""The relay: a worker's end of a public door, where blocks come from the daemon that took them in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import zmq

from otolith.inference.framing import Samples
from otolith.sources.network.doors import MAX_MESSAGE_BYTES, Allowed, decode_allowed
from otolith.wire.block import MAX_NAME_BYTES, Answer, Header, decode_block, encode_answer
from otolith.wire.datagram import SEQ_RANGE
from otolith.wire.line import Standing

HELD_BLOCKS = 1 << 14  # of all streams of one worker, at each end: a second of them, not of one
HELD_ANSWERS = 1024
LIMITS = (
    (zmq.LINGER, 0),
    (zmq.RCVHWM, HELD_BLOCKS),
    (zmq.SNDHWM, HELD_ANSWERS),
    (zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES),
)


class RelayDoor:
    """Takes what came to the public `endpoint` from `address`; decodes and refuses it as a door there would."""

    def __init__(
        self, endpoint: str, address: str, allow: Sequence[str], context: zmq.Context[zmq.Socket[bytes]]
    ) -> None:
        self.endpoint = endpoint
        self._allowed = Allowed(allow, f"ingest {endpoint}") if endpoint.startswith("udp://") else None
        self.wrap = SEQ_RANGE if self._allowed else 0
        self.waitable = context.socket(zmq.DEALER)
        for option, value in LIMITS:
            self.waitable.setsockopt(option, value)
        self.waitable.connect(address)

    def drain(self, bound: int) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        for _ in range(bound):
            try:
                sender, *parts = self.waitable.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield sender, parts

    def stream_of(self, parts: Sequence[bytes]) -> bytes:
        return parts[0]

    def decode(self, sender: bytes, parts: Sequence[bytes]) -> tuple[str, Header, Samples]:
        *block, _ = parts
        return decode_allowed(sender, block[0], self._allowed) if self._allowed else decode_block(block)

    def standing(self, parts: Sequence[bytes]) -> Standing | None:
        return Standing.decode(parts[-1]) if parts[-1] else None

    def answer(self, sender: bytes, stream: bytes, answer: Answer) -> None:
        if not self._allowed:
            self.pass_on(sender, [stream[:MAX_NAME_BYTES], encode_answer(answer)])

    def pass_on(self, sender: bytes, parts: Sequence[bytes]) -> None:
        try:
            self.waitable.send_multipart([sender, *parts], zmq.NOBLOCK)
        except zmq.Again:
            return

    def close(self) -> None:
        self.waitable.close()
