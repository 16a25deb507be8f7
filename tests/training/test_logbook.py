"""The logbook: a folder a training, readable by anyone, and whole whenever the power goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from otolith.errors import OtolithError
from otolith_training.logbook import Logbook

IDENTITY = {"recipe": "a", "seed": "1", "recordings": "b"}
RECORDS = [{"epoch": epoch, "loss": 1 / epoch, "stream_lateness_s": float("nan")} for epoch in (1, 2, 3)]


@pytest.fixture
def logbook(tmp_path: Path) -> Logbook:
    return Logbook.begin(tmp_path, IDENTITY)


def test_the_folder_tells_what_was_learned_with_what_and_how_it_went(logbook: Logbook) -> None:
    assert logbook.open("the recipe", {"seed": 1}, []) == []
    for record in RECORDS:
        logbook.note(record)
    logbook.close()
    assert (logbook.folder / "recipe.toml").read_text() == "the recipe"
    (entry,) = json.loads((logbook.folder / "versions.json").read_text())
    assert {"began", "command", "python", "torch", "numpy", "onnx", "otolith", "platform", "threads"} < entry.keys()
    lines = [json.loads(line) for line in (logbook.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines[1] == {"epoch": 2, "loss": 0.5, "stream_lateness_s": None}
    events = EventAccumulator(str(logbook.folder)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")][:2] == [(1, 1.0), (2, 0.5)]


def test_going_on_drops_what_the_checkpoint_does_not_know(logbook: Logbook) -> None:
    logbook.open("the recipe", {"seed": 1}, [])
    for record in RECORDS:
        logbook.note(record)
    again = Logbook(logbook.folder, IDENTITY)
    assert again.open("the recipe", {"seed": 2}, RECORDS[:2]) == ["seed 1, now 2"]
    assert len((again.folder / "metrics.jsonl").read_text().splitlines()) == 2
    assert [entry["from_epoch"] for entry in json.loads((again.folder / "versions.json").read_text())] == [0, 2]


def test_a_checkpoint_is_whole_or_the_one_before(logbook: Logbook) -> None:
    class Unwritable:
        """What torch cannot save: it fails when half is written."""

        def __reduce__(self) -> str:
            raise OSError("no space left")

    logbook.save({"weights": {"a": torch.ones(2)}})
    with pytest.raises(OSError, match="no space left"):
        logbook.save({"weights": {"a": torch.zeros(2)}, "more": Unwritable()})
    kept = logbook.load()
    assert kept is not None
    assert torch.equal(kept["weights"]["a"], torch.ones(2))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\3\4 cut off"])
def test_what_is_no_checkpoint_is_refused_in_one_line(logbook: Logbook, content: bytes) -> None:
    logbook.checkpoint.write_bytes(content)
    with pytest.raises(OtolithError, match=r"cannot be read as a checkpoint") as refusal:
        logbook.load()
    assert "\n" not in str(refusal.value)


def test_the_last_one_to_go_on_from_is_found(tmp_path: Path) -> None:
    assert Logbook.latest(tmp_path / "none", IDENTITY) is None
    first, second = (Logbook.begin(tmp_path, IDENTITY) for _ in range(2))
    assert Logbook.latest(tmp_path, IDENTITY) is None
    first.save({})
    (tmp_path / "notes").mkdir()
    found = Logbook.latest(tmp_path, IDENTITY)
    assert found is not None
    assert found.folder == first.folder
    assert second.folder.name == "002"
