"""The scribe: numbers that rise by one, and times that count from samples."""

from __future__ import annotations

import numpy as np

from otolith.inference.events import Detection, Gap, Posteriors
from otolith.inference.model import Model
from otolith.wire.messages import DetectionMessage, GapMessage, PosteriorsMessage
from otolith.wire.scribe import Scribe

SECOND_NS = 10**9


def posteriors(position: int, frames: int = 1) -> Posteriors:
    return Posteriors(position, np.full((frames, 3), 1 / 3, np.float32))


def test_sequence_numbers_rise_by_one_for_each_kind(tiny_audio: Model) -> None:
    scribe = Scribe("boot", "kitchen", tiny_audio)
    events = [posteriors(320), Gap(320, 5, "test"), posteriors(320), posteriors(640), Gap(640, 6, "test")]
    written = list(scribe.write(events, 640, 0))
    assert [(type(m), m.seq) for m in written] == [
        (PosteriorsMessage, 0),
        (GapMessage, 0),
        (PosteriorsMessage, 1),
        (PosteriorsMessage, 2),
        (GapMessage, 1),
    ]


def test_time_is_that_of_the_last_sample_behind_a_message(tiny_audio: Model) -> None:
    scribe = Scribe("boot", "kitchen", tiny_audio, now_ns=lambda: 10 * SECOND_NS)
    detection = Detection(position=8000, id=0, label="yes", phase="start", confidence=0.9, onset=4000)
    (message,) = scribe.write([detection], received=16000, time_ns=5 * SECOND_NS)
    assert isinstance(message, DetectionMessage)
    assert message.time_ns == 4_500_000_000
    assert message.onset_ns == 4_250_000_000
    assert message.latency_ms == 5750


def test_without_a_clock_latency_is_counted_in_sound(tiny_audio: Model) -> None:
    detection = Detection(position=8000, id=0, label="yes", phase="start", confidence=0.9, onset=4000)
    (message,) = Scribe("boot", "kitchen", tiny_audio).write([detection], 8000, 0)
    assert isinstance(message, DetectionMessage)
    assert message.latency_ms == 250


def test_posteriors_wait_for_company_and_none_is_left_out(tiny_audio: Model) -> None:
    scribe = Scribe("boot", "kitchen", tiny_audio, posteriors_per_s=10)  # 50 frames a second: 5 a message
    written = [m for i in range(12) for m in scribe.write([posteriors(320 * (i + 1))], 320 * (i + 1), 0)]
    written += scribe.flush(0)
    assert [m.frames for m in written if isinstance(m, PosteriorsMessage)] == [5, 5, 2]
    assert [m.position for m in written] == [1600, 3200, 3840]


def test_posteriors_leave_before_the_gap_behind_them(tiny_audio: Model) -> None:
    scribe = Scribe("boot", "kitchen", tiny_audio, posteriors_per_s=10)
    written = list(scribe.write([posteriors(320), Gap(320, 5, "test")], 320, 0))
    assert [type(m) for m in written] == [PosteriorsMessage, GapMessage]


def test_posteriors_can_be_left_out_altogether(tiny_audio: Model) -> None:
    scribe = Scribe("boot", "kitchen", tiny_audio, posteriors_per_s=0)
    assert list(scribe.write([posteriors(320)], 320, 0)) == []
