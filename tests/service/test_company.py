"""Company: how long a frame waits for others, told by a clock that the test holds."""

from __future__ import annotations

import math

import numpy as np

from otolith.inference.model import Model
from otolith.service.company import Company
from otolith.settings import EngineSettings
from tests.tiny import HOP_LENGTH

SETTINGS = EngineSettings(max_delay_ms=20, frames_per_step=4, largest_batch=3)


def frames(count: int) -> np.ndarray:
    return np.zeros(count * HOP_LENGTH, np.int16)


def test_a_stream_alone_waits_for_nobody(tiny_audio: Model) -> None:
    company = Company(SETTINGS)
    seat = company.join(tiny_audio)
    seat.push(frames(1))
    assert company.enough == 1
    assert len(company.step(0.0)) == 1
    assert company.due_s == math.inf


def test_a_frame_waits_for_others_but_not_longer_than_it_may(tiny_audio: Model) -> None:
    company = Company(SETTINGS)
    first, _second, third = (company.join(tiny_audio) for _ in range(3))
    first.push(frames(1))
    assert company.step(10.0) == []
    third.push(frames(1))
    assert company.step(10.015) == []
    assert (company.due_s, company.enough) == (10.02, 1)
    assert [seat for seat, _ in company.step(10.02)] == [first, third]
    assert company.due_s == math.inf


def test_nobody_waits_when_all_are_ready(tiny_audio: Model) -> None:
    company = Company(SETTINGS)
    seats = [company.join(tiny_audio) for _ in range(2)]
    for seat in seats:
        seat.push(frames(2))
    assert len(company.step(0.0)) == 2


def test_a_full_batch_goes_at_once_and_leaves_who_has_less_to_wait(tiny_audio: Model) -> None:
    company = Company(SETTINGS)
    seats = [company.join(tiny_audio) for _ in range(6)]
    seats[4].push(frames(3))
    assert company.step(0.0) == []
    for seat in seats[:3]:
        seat.push(frames(4))
    assert [seat for seat, _ in company.step(0.01)] == seats[:3]
    assert company.due_s == 0.02
    assert [seat for seat, _ in company.step(0.02)] == [seats[4]]


def test_each_model_has_its_own_company(tiny_audio: Model, tiny_sensor: Model) -> None:
    company = Company(SETTINGS)
    audio, sensor = company.join(tiny_audio), company.join(tiny_sensor)
    audio.push(frames(1))
    sensor.push(np.zeros((1, 6), np.float32))
    assert {seat for seat, _ in company.step(0.0)} == {audio, sensor}


def test_whoever_leaves_is_waited_for_no_longer(tiny_audio: Model) -> None:
    company = Company(SETTINGS)
    stays, goes = company.join(tiny_audio), company.join(tiny_audio)
    stays.push(frames(1))
    assert company.step(0.0) == []
    goes.close()
    assert len(company.step(0.001)) == 1


def test_while_another_model_is_waited_for_a_frame_has_waited_since_it_came(
    tiny_audio: Model, tiny_sensor: Model
) -> None:
    """Nobody looked for it: the loop is woken for what the others lack, or when their time is up."""
    company = Company(SETTINGS)
    (audio, *_), (sensor, *_) = ([company.join(model) for _ in range(3)] for model in (tiny_audio, tiny_sensor))
    audio.push(frames(1))
    assert company.step(10.0) == []
    sensor.push(np.zeros((1, 6), np.float32))
    assert [seat for seat, _ in company.step(10.02, since_s=10.005)] == [audio]
    assert company.due_s == 10.025
    assert [seat for seat, _ in company.step(10.025)] == [sensor]
