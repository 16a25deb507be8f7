"""The accord: all workers change, or none does; each asked at a real control socket."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from otolith.errors import OtolithError, SettingsError
from otolith.service.control import Control
from otolith.service.workers.accord import Party, agree, change
from otolith.service.workers.worker import Order
from otolith.settings import RouteSettings, Settings
from otolith.wire.control import Answer, Request
from otolith.wire.line import Line

Hear = Callable[[int, str], Answer]


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Callable[[Hear], tuple[list[Party], list[str]]]]:
    """Three workers who do as they are told, and all that was asked of them."""
    with ExitStack() as stack:

        def open_company(hear: Hear) -> tuple[list[Party], list[str]]:
            parties, asked = [], []
            for number in range(3):

                def answer(request: Request, number: int = number) -> Answer:
                    asked.append(f"{request.command} {number}")
                    return hear(number, request.command)

                control = Control(tmp_path / f"{number}.control", answer)
                control.start()
                stack.callback(control.close)
                parties.append(Party(f"worker {number + 1}", control.path, tmp_path / f"{number}.proposal"))
            return parties, asked

        yield open_company


def refuse_one(number: int, command: str) -> Answer:
    if (number, command) == (1, "prepare"):
        raise SettingsError("otolith.toml: no such model")
    return Answer()


def test_where_one_cannot_prepare_all_forget_and_none_changes(
    company: Callable[[Hear], tuple[list[Party], list[str]]],
) -> None:
    parties, asked = company(refuse_one)
    with pytest.raises(OtolithError, match=r"worker 2: otolith\.toml: no such model"):
        agree(parties)
    assert sorted(asked[:3]) == ["prepare 0", "prepare 1", "prepare 2"]
    assert sorted(asked[3:]) == ["forget 0", "forget 1", "forget 2"]


def test_what_each_changed_is_told_and_who_did_not_too(
    company: Callable[[Hear], tuple[list[Party], list[str]]], tmp_path: Path
) -> None:
    parties, _ = company(lambda number, command: Answer(changes=[f"{command} {number}"]))
    parties[2] = Party("worker 3", tmp_path / "nobody.control", tmp_path / "2.proposal")
    first, second, dead = change(parties)
    assert (first.changes, second.changes) == (["change 0"], ["change 1"])
    assert dead.error == "it does not answer"


@pytest.mark.parametrize("is_good", [True, False])
def test_a_proposal_to_a_worker_that_is_not_there_is_checked_without_it(
    tmp_path: Path, tiny_audio_file: Path, is_good: bool
) -> None:
    model = str(tiny_audio_file) if is_good else str(tmp_path / "none.onnx")
    settings = Settings(route=[RouteSettings(pattern="*", model=model)])
    order = Order(settings, "otolith.toml", Line(str(tmp_path), 0, 1), os.getpid())
    proposal = tmp_path / "0.proposal"
    proposal.write_bytes(msgspec.json.encode(order))
    party = Party("worker 1", tmp_path / "nobody.control", proposal)
    if is_good:
        agree([party])
    else:
        with pytest.raises(OtolithError, match=r"worker 1: .*none\.onnx"):
            agree([party])
